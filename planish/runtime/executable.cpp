#include "planish/runtime/executable.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "planish/base/isa.h"
#include "planish/ops/infer_graph.h"
#include "planish/ops/pointwise.h"
#include "planish/tactics/node_view.h"

namespace planish {
namespace {

/// Shape of a packed constant in the graph.
Shape shape_of(const Graph& graph, const Node& node, const PackedConstant& packed) {
  return graph.value(node.in(static_cast<size_t>(packed.input))).constant->shape();
}

Error corrupt(const Node& node, std::string what) {
  return Error{.code = Code::corrupt, .node = node.name, .what = std::move(what), .fix = "build the engine again"};
}

/// A file may say anything. A layer's packed weights belong to one input each, are where the tactic looks for them, and
/// no constant is without a value.
Status check_constants(const Graph& graph, const Node& node, const Tactic* tactic,
                       const std::vector<PackedConstant>& packed) {
  std::vector<bool> has_value(node.inputs.size());
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const ValueId v = node.inputs[i];
    const auto* constant = v == kNoValue || !graph.value(v).constant ? nullptr : &*graph.value(v).constant;
    has_value[i] = constant == nullptr || constant->raw() != nullptr || constant->size() == 0;
  }
  std::vector<bool> is_packed(node.inputs.size());
  for (const PackedConstant& p : packed) {
    const auto i = static_cast<size_t>(p.input);
    if (p.input < 0 || i >= node.inputs.size() || node.inputs[i] == kNoValue || !graph.value(node.inputs[i]).constant)
      return corrupt(node, "a packed weight belongs to no constant input");
    if (is_packed[i]) return corrupt(node, fmt::format("input {} has two packed weights", i));
    is_packed[i] = has_value[i] = true;
  }
  if (tactic != nullptr && tactic->packs != Tactic::kSeveral && !packed.empty() &&
      (packed.size() != 1 || packed[0].input != tactic->packs))
    return corrupt(node, fmt::format("{} packs input {} alone", tactic->id, tactic->packs));
  const auto missing = std::ranges::find(has_value, false);
  if (missing != has_value.end())
    return corrupt(node, fmt::format("constant input {} has no value", missing - has_value.begin()));
  return {};
}

bool is_subnormal(float x) { return std::fpclassify(x) == FP_SUBNORMAL; }

/// One number, not one of many weights: training leaves subnormal weights behind, which mean nothing.
bool is_subnormal_number(const Tensor& t) {
  if (t.size() != 1 || t.raw() == nullptr) return false;
  if (t.dtype() == DType::f64) return std::fpclassify(*t.data<double>()) == FP_SUBNORMAL;
  return t.dtype() == DType::f32 && is_subnormal(*t.data<float>());
}

/// Likewise of an elementwise program's step, "Clip 0 min=1e-42".
bool names_subnormal_number(const std::string& step) {
  return std::ranges::any_of(step_words(step), [](std::string_view word) {
    double value = 0;
    const size_t equals = word.find('=');
    if (equals == std::string_view::npos) return false;
    std::from_chars(word.data() + equals + 1, word.data() + word.size(), value);
    return is_subnormal(static_cast<float>(value)) || std::fpclassify(value) == FP_SUBNORMAL;
  });
}

/// Whether some number that the network names is subnormal.
bool names_subnormals(const Graph& graph) {
  const auto in_attr = [](const auto& named) {
    const Attr& attr = named.second;
    if (const auto* f = std::get_if<float>(&attr)) return is_subnormal(*f);
    if (const auto* list = std::get_if<std::vector<float>>(&attr)) return std::ranges::any_of(*list, is_subnormal);
    if (const auto* t = std::get_if<Tensor>(&attr)) return is_subnormal_number(*t);
    if (const auto* texts = std::get_if<std::vector<std::string>>(&attr))
      return named.first == "steps" && std::ranges::any_of(*texts, names_subnormal_number);
    const auto* body = std::get_if<std::shared_ptr<const Graph>>(&attr);
    return body != nullptr && *body != nullptr && names_subnormals(**body);
  };
  return std::ranges::any_of(graph.values,
                             [](const Value& v) { return v.constant && is_subnormal_number(*v.constant); }) ||
         std::ranges::any_of(graph.nodes, [&](const Node& n) { return std::ranges::any_of(n.attrs, in_attr); });
}

/// What an engine from another machine loses here.
struct Loss {
  size_t layers = 0;   ///< cannot run as they were tuned
  size_t in_bf16 = 0;  ///< of these, tuned for types that the processor does not multiply
  size_t in_fp16 = 0;
};

bool reads(const NodeView& view, DType type) {
  return std::ranges::any_of(view.inputs, [type](const TensorDesc& d) { return d.dtype == type; });
}

}  // namespace

/// Tries every layer at the tuned shapes. Only done for engines from elsewhere, since it costs as much as a first run.
Result<std::string> Executable::describe_loss() const {
  const Graph& graph = engine_->graph;
  std::vector<std::optional<Shape>> tuned;
  if (!engine_->profiles.empty() && engine_->profiles[0].inputs.size() == graph.inputs.size())
    for (const ShapeRange& r : engine_->profiles[0].inputs) tuned.emplace_back(r.opt);
  const ShapeFacts facts = PLANISH_TRY(infer_shapes(graph, tuned));
  Loss loss;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    if (engine_->layers[n].tactic.empty()) continue;
    const NodeView view = node_view(graph, graph.nodes[n], facts.dtypes, facts.shapes, facts.values);
    const auto known = [](const TensorDesc& d) { return !d.present() || is_static(d.shape); };
    if (!std::ranges::all_of(view.inputs, known) || !std::ranges::all_of(view.outputs, known)) continue;
    const Layer& layer = layers_[n];
    if (layer.tactic != nullptr && !layer.tactic->supports(view, target_) &&
        layer.tactic->prepare(view, layer.packed, target_).ok())
      continue;
    ++loss.layers;
    if (reads(view, DType::bf16)) ++loss.in_bf16;
    if (reads(view, DType::f16)) ++loss.in_fp16;
  }
  std::string types;
  if (loss.in_bf16 != 0)
    types = fmt::format(", {} of them computed in BF16, which this processor does not multiply", loss.in_bf16);
  if (loss.in_fp16 != 0)
    types += fmt::format(", {} of them computed in FP16, which this processor does not multiply", loss.in_fp16);
  const std::string cost =
      loss.layers == 0
          ? "every layer runs as it was tuned, but other tactics may be faster here"
          : fmt::format("{} of {} layers cannot run as they were tuned{}; other tactics take their place, more slowly",
                        loss.layers, graph.nodes.size(), types);
  return fmt::format(
      "the engine was tuned on another processor ({}): {}. planish build --retune=ENGINE tunes it for "
      "this one, in place",
      engine_->info.device, cost);
}

Result<std::shared_ptr<const Executable>> Executable::create(std::shared_ptr<const Engine> engine, Device& device,
                                                             const TacticTable& table, int threads,
                                                             const RuntimeHooks& hooks) {
  if (engine->info.weights_stripped)
    return Error{.code = Code::unsupported,
                 .file = engine->info.name,
                 .what = "the engine was written without weights",
                 .fix = "give them back first: trtexec --loadEngine=ENGINE --refitFromOnnx --onnx=MODEL"};
  std::shared_ptr<Executable> e(new Executable);
  e->engine_ = std::move(engine);
  e->device_ = &device;
  e->table_ = &table;
  e->hooks_ = hooks;
  e->target_ = Target{.device = &device, .threads = threads_or_all(threads)};
  const Graph& graph = e->engine_->graph;
  if (e->engine_->layers.size() != graph.nodes.size())
    return Error{.code = Code::corrupt,
                 .what = "the engine has another number of layers than nodes",
                 .fix = "build the engine again"};
  e->keeps_subnormals_ = names_subnormals(graph);
  e->layers_.resize(graph.nodes.size());
  size_t replaced = 0;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const LayerPlan& plan = e->engine_->layers[n];
    Layer& layer = e->layers_[n];
    layer.constants.resize(graph.nodes[n].inputs.size());
    if (!plan.tactic.empty()) {
      layer.tactic = table.find(plan.tactic);
      if (layer.tactic == nullptr || !tactic_takes(*layer.tactic, graph.nodes[n])) {
        layer.tactic = nullptr;
        layer.replaced = true;
        ++replaced;
      }
    }
    PLANISH_TRY(check_constants(graph, graph.nodes[n], layer.tactic, plan.packed));
    for (const PackedConstant& p : plan.packed)
      layer.packed.push_back(
          PLANISH_TRY(restore_half(layer.tactic, shape_of(graph, graph.nodes[n], p), p, hooks.widen)));
  }
  const std::string& tuned_for = e->engine_->info.device_fingerprint;
  if (replaced != 0 || (!tuned_for.empty() && tuned_for != device.fingerprint()))
    if (auto loss = e->describe_loss(); loss.ok()) e->warnings_.push_back(std::move(*loss));
  PLANISH_TRY(e->place_weights());
  if (hooks.release_makers != nullptr) hooks.release_makers();
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
    for (const PackedConstant& p : layer.packed)
      layer.constants[static_cast<size_t>(p.input)] = PLANISH_TRY(place(p.data));
  }
  return {};
}

}  // namespace planish
