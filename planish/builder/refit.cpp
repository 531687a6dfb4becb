#include "planish/builder/refit.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "planish/builder/io_formats.h"
#include "planish/builder/packed_constants.h"
#include "planish/builder/profiles.h"
#include "planish/ops/infer_graph.h"
#include "planish/tactics/half_weights.h"
#include "planish/tactics/node_view.h"

namespace planish {
namespace {

/// Scalars and short vectors of numbers (epsilons, scales of attention) decide which layers exist; they stay.
constexpr size_t kSmallestWeightBytes = 64;

bool is_weight(const Tensor& t) {
  return t.bytes() >= kSmallestWeightBytes && (dtype_is_float(t.dtype()) || dtype_bits(t.dtype()) <= 8);
}

std::string_view role_of(const Node& node, size_t input) {
  const bool product = node.op == "FusedConv" || node.op == "FusedConvTranspose" || node.op == "FusedMatMul" ||
                       node.op == "WeightOnlyMatMul" || node.op == "Conv" || node.op == "ConvTranspose" ||
                       node.op == "Gemm" || node.op == "MatMul";
  if (!product) return "constant";
  return input <= 1 ? "kernel" : input == 2 ? "bias" : "constant";
}

Error other_network(std::string node, std::string what) {
  return Error{.code = Code::invalid_argument,
               .node = std::move(node),
               .what = std::move(what),
               .fix = "refit with a model of the same network and the same --disablePasses, or build a new engine"};
}

void erase_data(std::optional<Tensor>& constant) {
  constant = Tensor::share(constant->dtype(), constant->shape(), nullptr, nullptr);
}

Result<Tensor> converted(const Tensor& from, DType to, const Node& node) {
  if (from.dtype() == to) return from;
  if (!dtype_is_float(from.dtype()) || !dtype_is_float(to))
    return other_network(node.name, fmt::format("a weight is {} in the engine and {} in the model", dtype_name(to),
                                                dtype_name(from.dtype())));
  Tensor out(to, from.shape());
  for (int64_t i = 0; i < from.size(); ++i) out.set(i, from.at(i));
  return out;
}

/// The model's graph in the state in which the builder chose tactics for it.
Result<Graph> passed_graph(const Engine& engine, Graph model, const BuildOptions& options) {
  BuildOptions boundary;
  boundary.io_formats = io_formats_of(engine.graph, model);
  PLANISH_TRY(apply_io_formats(model, boundary));
  if (model.inputs.size() != engine.graph.inputs.size())
    return other_network(
        "", fmt::format("the engine has {} inputs, the model {}", engine.graph.inputs.size(), model.inputs.size()));
  for (size_t i = 0; i < model.inputs.size(); ++i)
    if (model.name_of(model.inputs[i]) != engine.graph.name_of(engine.graph.inputs[i]))
      return other_network("",
                           fmt::format("input {} is '{}' in the engine and '{}' in the model", i,
                                       engine.graph.name_of(engine.graph.inputs[i]), model.name_of(model.inputs[i])));
  bind_profile_shapes(model, engine.profiles);
  for (const std::string& name : engine.info.debug_tensors)
    if (const auto v = model.find_value(name); v && !model.value(*v).is_constant()) model.outputs.push_back(*v);
  return run_passes(std::move(model), options.passes);
}

class Matcher {
 public:
  explicit Matcher(const Graph& model) : model_(model) {
    for (size_t n = 0; n < model.nodes.size(); ++n)
      for (const ValueId v : model.nodes[n].outputs)
        if (v != kNoValue) producer_[model.value(v).name] = n;
  }

  /// The model's node that makes the same tensor, or nullptr.
  const Node* find(const Graph& graph, const Node& node) const {
    for (const ValueId v : node.outputs) {
      if (v == kNoValue) continue;
      const std::string& name = graph.value(v).name;
      // The builder names copies in another layout `tensor@layout`.
      for (const std::string& key : {name, name.substr(0, name.rfind('@'))})
        if (const auto it = producer_.find(key); it != producer_.end()) return &model_.nodes[it->second];
    }
    return nullptr;
  }

 private:
  const Graph& model_;
  std::map<std::string, size_t> producer_;
};

Status copy_constants(const Graph& model, Engine& out) {
  const Matcher matcher(model);
  for (const Node& node : out.graph.nodes) {
    const bool has_constant =
        std::ranges::any_of(node.inputs, [&](ValueId v) { return out.graph.constant_of(v) != nullptr; });
    if (!has_constant) continue;
    const Node* same = matcher.find(out.graph, node);
    if (same == nullptr || same->op != node.op || same->inputs.size() != node.inputs.size())
      return other_network(node.name, "the model has no such layer after the same passes");
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const Tensor* old = out.graph.constant_of(node.inputs[i]);
      const Tensor* fresh = model.constant_of(same->inputs[i]);
      if (old == nullptr) continue;
      if (fresh == nullptr) return other_network(node.name, fmt::format("input {} is no constant in the model", i));
      if (old->shape() != fresh->shape())
        return other_network(node.name, fmt::format("input {} is {} in the engine and {} in the model", i,
                                                    to_string(old->shape()), to_string(fresh->shape())));
      const bool weight = is_weight(*old) || old->raw() == nullptr;
      if (weight) out.graph.value(node.inputs[i]).constant = PLANISH_TRY(converted(*fresh, old->dtype(), node));
    }
  }
  return {};
}

/// Packs as the engine's tactics do, and stores in 16 bits what the engine stored so.
Status pack_layers(Engine& out, const Target& target, const TacticTable& table) {
  std::vector<std::optional<Shape>> tuned;
  for (const ShapeRange& r : out.profiles[0].inputs) tuned.emplace_back(r.opt);
  const ShapeFacts facts = PLANISH_TRY(infer_shapes(out.graph, tuned));
  for (size_t n = 0; n < out.layers.size(); ++n) {
    LayerPlan& layer = out.layers[n];
    if (layer.packed.empty()) continue;
    const Node& node = out.graph.nodes[n];
    const Tactic* tactic = table.find(layer.tactic);
    if (tactic == nullptr || tactic->pack == nullptr)
      return Error{.code = Code::unsupported,
                   .node = node.name,
                   .what = fmt::format("the engine's tactic {} does not exist here", layer.tactic),
                   .fix = "refit on the machine that built the engine, or build it again"};
    const NodeView view = node_view(out.graph, node, facts.dtypes, facts.shapes, facts.values);
    std::vector<PackedConstant> packed = PLANISH_TRY(tactic->pack(view, target));
    for (PackedConstant& p : packed) {
      const auto old = std::ranges::find(layer.packed, p.input, &PackedConstant::input);
      if (old == layer.packed.end() || !is_half_stored(*old)) continue;
      if (auto half = PLANISH_TRY(store_half(*tactic, view, p, stored_type(*old)))) p = std::move(*half);
    }
    layer.packed = std::move(packed);
  }
  return {};
}

}  // namespace

std::vector<RefittableWeight> refittable_weights(const Engine& engine) {
  std::vector<RefittableWeight> out;
  for (const Node& node : engine.graph.nodes)
    for (size_t i = 0; i < node.inputs.size(); ++i)
      if (const Tensor* t = engine.graph.constant_of(node.inputs[i]); t != nullptr && is_weight(*t))
        out.push_back({node.name, std::string(role_of(node, i)), t->dtype(), t->shape()});
  return out;
}

void strip_weights(Engine& engine) {
  for (Value& value : engine.graph.values)
    if (value.constant && is_weight(*value.constant)) erase_data(value.constant);
  for (LayerPlan& layer : engine.layers)
    for (PackedConstant& p : layer.packed) p.data = Tensor::share(p.data.dtype(), p.data.shape(), nullptr, nullptr);
  engine.info.weights_stripped = true;
}

Result<Engine> refit_engine(const Engine& engine, Graph model, const BuildOptions& options, Device& device,
                            const TacticTable& table) {
  if (!engine.info.refittable && !engine.info.weights_stripped)
    return Error{.code = Code::unsupported,
                 .file = "--refitFromOnnx",
                 .what = "the engine was built without --refit",
                 .fix = "build it with --refit, or build a new engine from the model"};
  Engine out = engine;
  const Graph fresh = PLANISH_TRY(passed_graph(engine, std::move(model), options));
  PLANISH_TRY(copy_constants(fresh, out));
  const Target target{.device = &device,
                      .threads = std::max(engine.info.threads, 1),
                      .workspace_limit_bytes = options.memory_limit_bytes};
  PLANISH_TRY(pack_layers(out, target, table));
  drop_packed_constants(out);
  out.info.weights_stripped = false;
  return out;
}

}  // namespace planish
