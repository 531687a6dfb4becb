#include "planish/runtime/executable.h"

#include <fmt/format.h>

#include "planish/tactics/half_weights.h"

namespace planish {

Result<std::shared_ptr<const Executable>> Executable::create(std::shared_ptr<const Engine> engine, Device& device,
                                                             const TacticTable& table, int threads) {
  if (engine->info.weights_stripped)
    return Error{.code = Code::unsupported,
                 .file = engine->info.name,
                 .what = "the engine was written without weights",
                 .fix = "give them back first: trtexec --loadEngine=ENGINE --refitFromOnnx --onnx=MODEL"};
  std::shared_ptr<Executable> e(new Executable);
  e->engine_ = std::move(engine);
  e->device_ = &device;
  e->table_ = &table;
  e->target_ = Target{.device = &device, .threads = threads};
  const Graph& graph = e->engine_->graph;
  if (e->engine_->layers.size() != graph.nodes.size())
    return Error{.code = Code::corrupt,
                 .what = "the engine has another number of layers than nodes",
                 .fix = "build the engine again"};
  e->layers_.resize(graph.nodes.size());
  size_t replaced = 0;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const LayerPlan& plan = e->engine_->layers[n];
    Layer& layer = e->layers_[n];
    for (const PackedConstant& p : plan.packed) layer.packed.push_back(PLANISH_TRY(expand_half(p)));
    layer.constants.resize(graph.nodes[n].inputs.size());
    if (plan.tactic.empty()) continue;
    layer.tactic = table.find(plan.tactic);
    if (layer.tactic == nullptr || !tactic_takes(*layer.tactic, graph.nodes[n])) {
      layer.tactic = nullptr;
      layer.replaced = true;
      ++replaced;
    }
  }
  if (replaced != 0)
    e->warnings_.push_back(fmt::format(
        "{} of {} layers were tuned for tactics that do not exist here; the first one that fits takes their "
        "place. The engine was tuned on {}; planish build --retune tunes it for this machine",
        replaced, graph.nodes.size(), e->engine_->info.device));
  PLANISH_TRY(e->place_weights());
  return std::shared_ptr<const Executable>(std::move(e));
}

Result<DevicePtr> Executable::place(const Tensor& tensor) {
  weight_bytes_ += tensor.bytes();
  if (device_->shares_host_memory()) return DevicePtr{reinterpret_cast<uintptr_t>(tensor.raw())};
  DeviceBuffer buffer = PLANISH_TRY(DeviceBuffer::create(*device_, tensor.bytes()));
  std::unique_ptr<Stream> stream = PLANISH_TRY(device_->create_stream());
  PLANISH_TRY(device_->copy_to_device(buffer.get(), tensor.raw(), tensor.bytes(), *stream));
  PLANISH_TRY(stream->synchronize());
  uploads_.push_back(std::move(buffer));
  return uploads_.back().get();
}

Status Executable::place_weights() {
  const Graph& graph = engine_->graph;
  constants_.resize(graph.values.size());
  for (size_t v = 0; v < graph.values.size(); ++v) {
    const auto& constant = graph.values[v].constant;
    if (!constant || (constant->raw() == nullptr && constant->size() != 0)) continue;
    constants_[v] = PLANISH_TRY(place(*constant));
  }
  for (size_t n = 0; n < layers_.size(); ++n) {
    Layer& layer = layers_[n];
    for (size_t i = 0; i < layer.constants.size(); ++i)
      if (const ValueId v = graph.nodes[n].inputs[i]; v != kNoValue) layer.constants[i] = constant_address(v);
    for (const PackedConstant& p : layer.packed) {
      if (p.input < 0 || static_cast<size_t>(p.input) >= layer.constants.size())
        return Error{.code = Code::corrupt,
                     .node = graph.nodes[n].name,
                     .what = "a packed weight belongs to no input",
                     .fix = "build the engine again"};
      layer.constants[static_cast<size_t>(p.input)] = PLANISH_TRY(place(p.data));
    }
  }
  return {};
}

}  // namespace planish
