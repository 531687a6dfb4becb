#include "planish/builder/precision.h"

#include <fmt/format.h>

#include <algorithm>

#include "planish/tactics/half_weights.h"

namespace planish {
namespace {

bool matches(std::string_view pattern, std::string_view name) {
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == name;
  const std::string_view head = pattern.substr(0, star);
  const std::string_view tail = pattern.substr(star + 1);
  return name.size() >= head.size() + tail.size() && name.starts_with(head) && name.ends_with(tail);
}

bool matches(std::string_view pattern, const Node& node) {
  return matches(pattern, node.name) ||
         std::ranges::any_of(node.origins, [pattern](const std::string& name) { return matches(pattern, name); });
}

constexpr std::string_view kKept = "kept in FP32: ";

std::string_view label(DType type) {
  switch (type) {
    case DType::f16: return "FP16";
    case DType::bf16: return "BF16";
    case DType::f32: return "FP32";
    default: return dtype_name(type);
  }
}

bool binding(const BuildOptions& options) { return options.precision_constraints != PrecisionConstraints::none; }
bool obeying(const BuildOptions& options) { return options.precision_constraints == PrecisionConstraints::obey; }

/// 16-bit types to try for the layer, best first; empty: FP32.
std::vector<DType> wanted_types(const Node& node, const BuildOptions& options) {
  if (options.fp32_layers.contains(node.name)) return {};
  std::vector<DType> types;
  if (options.fp16) types.push_back(DType::f16);
  if (options.bf16) types.push_back(DType::bf16);
  if (!binding(options)) return types;
  const auto asked = requested_type(node, options.layer_precisions);
  if (!asked) return types;
  if (is_half(*asked)) return {*asked};
  return {};
}

bool is_product(const Node& node) {
  return (node.domain == "planish" &&
          (node.op == "FusedConv" || node.op == "FusedConvTranspose" || node.op == "FusedMatMul" ||
           node.op == "WeightOnlyMatMul" || node.op == "MergedAttention")) ||
         node.op == "Attention";
}

/// For each node whether a product reads its results, directly or not.
std::vector<bool> before_a_product(const Graph& graph) {
  std::vector<bool> wanted(graph.values.size(), false);
  std::vector<bool> out(graph.nodes.size(), false);
  for (size_t n = graph.nodes.size(); n-- > 0;) {
    const Node& node = graph.nodes[n];
    out[n] = std::ranges::any_of(node.outputs,
                                 [&wanted](ValueId v) { return v != kNoValue && wanted[static_cast<size_t>(v)]; });
    if (!out[n] && !is_product(node)) continue;
    for (const ValueId v : node.inputs)
      if (v != kNoValue) wanted[static_cast<size_t>(v)] = true;
  }
  return out;
}

/// For each value whether it is a sum of a product and a residual.
std::vector<bool> residual_sums(const Graph& graph) {
  constexpr size_t kResidual = 3;
  std::vector<bool> out(graph.values.size(), false);
  for (const Node& node : graph.nodes)
    if ((node.is("FusedConv", "planish") || node.is("FusedMatMul", "planish")) && node.in(kResidual) != kNoValue)
      out[static_cast<size_t>(node.outputs[0])] = true;
  return out;
}

/// The largest magnitude among the node's constant weights is beyond what `type` can hold.
bool weights_overflow(const Graph& graph, const Node& node, DType type) {
  if (type != DType::f16 || !is_product(node)) return false;
  constexpr float kLargest = 65504.0F;
  for (const ValueId v : node.inputs) {
    const Tensor* constant = graph.constant_of(v);
    if (constant == nullptr || constant->dtype() != DType::f32 || constant->raw() == nullptr) continue;
    for (const float x : constant->span<float>())
      if (std::abs(x) > kLargest && std::abs(x) <= 3.4028235e38F) return true;
  }
  return false;
}

/// Stores all packed f32 weights of the layer as `type`; false when one would overflow.
Result<bool> store_weights(const Tactic& tactic, const NodeView& view, LayerPlan& layer, DType type) {
  std::vector<PackedConstant> stored = layer.packed;
  for (PackedConstant& p : stored) {
    if (view.inputs[static_cast<size_t>(p.input)].dtype != DType::f32) continue;
    auto half = PLANISH_TRY(store_half(tactic, view, p, type));
    if (!half) return false;
    p = std::move(*half);
  }
  layer.packed = std::move(stored);
  return true;
}

Error cannot_obey(const Node& node, std::string_view flag, std::string what) {
  return Error{.code = Code::invalid_argument,
               .node = node.name,
               .file = std::string(flag),
               .what = std::move(what),
               .fix = "take the layer out of the list, or use --precisionConstraints=prefer"};
}

void warn_of_unknown_names(const Graph& graph, const std::vector<std::pair<std::string, DType>>& list,
                           std::string_view flag, const BuildOptions& options) {
  if (!options.warn) return;
  for (const auto& [pattern, type] : list)
    if (std::ranges::none_of(graph.nodes, [&p = pattern](const Node& node) { return matches(p, node); }))
      options.warn(fmt::format("{}: no layer and no ONNX node is named '{}'", flag, pattern));
}

std::string precision_name(DType type) {
  switch (type) {
    case DType::f16: return "fp16";
    case DType::bf16: return "bf16";
    case DType::i8:
    case DType::u8: return "int8";
    case DType::f32: return "fp32";
    default: return std::string(dtype_name(type));
  }
}

/// Type of the first activation that the layer reads.
DType activation_type(const NodeView& view) {
  for (size_t i = 0; i < view.inputs.size(); ++i)
    if (view.has_input(i) && !view.is_constant(i)) return view.inputs[i].dtype;
  return view.inputs.empty() ? DType::f32 : view.inputs[0].dtype;
}

}  // namespace

std::optional<std::string> fp32_reason(const LayerPlan& layer) {
  if (!layer.note.starts_with(kKept)) return std::nullopt;
  return layer.note.substr(kKept.size());
}

std::optional<DType> requested_type(const Node& node, const std::vector<std::pair<std::string, DType>>& list) {
  std::optional<DType> type;
  for (const auto& [pattern, asked] : list)
    if (matches(pattern, node)) type = asked;
  return type;
}

Result<std::vector<AllowedTypes>> allowed_types(const Graph& graph, const BuildOptions& options) {
  const std::vector<bool> followed = before_a_product(graph);
  const std::vector<bool> sums =
      options.f32_sums ? residual_sums(graph) : std::vector<bool>(graph.values.size(), false);
  const auto is_sum = [&sums](ValueId v) { return v != kNoValue && sums[static_cast<size_t>(v)]; };
  std::vector<AllowedTypes> out(graph.nodes.size());
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    AllowedTypes& types = out[n];
    const auto asked = binding(options) ? requested_type(node, options.layer_precisions) : std::nullopt;
    if (binding(options)) types.output_type = requested_type(node, options.layer_output_types);
    if (!followed[n] && !is_product(node) && !asked && !types.output_type) continue;
    types.halves = wanted_types(node, options);
    if (!asked && !is_product(node) && std::ranges::any_of(node.inputs, is_sum)) types.halves.clear();
    types.writes_f32 = (!followed[n] || is_sum(node.outputs[0])) && !types.output_type;
    std::erase_if(types.halves, [&](DType t) { return weights_overflow(graph, node, t); });
    types.f32 = !(asked && is_half(*asked) && obeying(options));
    if (types.output_type && is_half(*types.output_type) && types.halves.empty()) types.halves = {*types.output_type};
  }
  return out;
}

Status check_constraints(const Graph& graph, const std::vector<Choice>& choices, const BuildOptions& options) {
  if (!binding(options)) return {};
  warn_of_unknown_names(graph, options.layer_precisions, "--layerPrecisions", options);
  warn_of_unknown_names(graph, options.layer_output_types, "--layerOutputTypes", options);
  if (!obeying(options)) return {};
  // A pattern says what to do where it is possible; a name is about one layer.
  const auto by_name = [](const std::vector<std::pair<std::string, DType>>& list) {
    auto named = list;
    std::erase_if(named, [](const auto& entry) { return entry.first.find('*') != std::string::npos; });
    return named;
  };
  const auto precisions = by_name(options.layer_precisions);
  const auto outputs = by_name(options.layer_output_types);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    const auto asked = requested_type(node, precisions);
    const bool native = choices[n].types.in != DType::f32 || choices[n].types.out != DType::f32;
    const bool stores = is_product(node) && graph.constant_of(node.in(1)) != nullptr;
    if (asked && is_half(*asked) && weights_overflow(graph, node, *asked))
      return cannot_obey(node, "--layerPrecisions", "the layer has weights beyond the range of FP16");
    if (asked && is_half(*asked) && !native && !stores)
      return cannot_obey(node, "--layerPrecisions",
                         fmt::format("the layer cannot be computed in {} on this machine", label(*asked)));
    if (const auto type = requested_type(node, outputs); type && choices[n].types.out != *type)
      return cannot_obey(node, "--layerOutputTypes",
                         fmt::format("the layer cannot write {} on this machine", label(*type)));
  }
  return {};
}

Status apply_precision(const NodeView& view, const Tactic* tactic, const Choice& choice, const BuildOptions& options,
                       LayerPlan& layer, std::vector<std::string>& overflowed) {
  layer.precision = precision_name(activation_type(view));
  if (const auto it = options.fp32_layers.find(view.node->name); it != options.fp32_layers.end()) {
    layer.note = std::string(kKept) + it->second;
    return {};
  }
  const std::vector<DType> types = wanted_types(*view.node, options);
  const bool has_weights = std::ranges::any_of(layer.packed, [&view](const PackedConstant& p) {
    return view.inputs[static_cast<size_t>(p.input)].dtype == DType::f32;
  });
  if (tactic == nullptr || !has_weights || types.empty() || activation_type(view) != DType::f32) return {};
  for (const DType type : types) {
    if (!PLANISH_TRY(store_weights(*tactic, view, layer, type))) {
      overflowed.push_back(view.node->name);
      layer.note = fmt::format("weights beyond the range of {} stay in FP32", label(type));
      continue;
    }
    const bool tried = std::ranges::find(choice.halves_tried, type) != choice.halves_tried.end();
    layer.note = tried ? fmt::format("weights stored in {}, computed in FP32 (faster here)", label(type))
                       : fmt::format("weights stored in {}, computed in FP32 (no native {} tactic here)", label(type),
                                     label(type));
    return {};
  }
  return {};
}

}  // namespace planish
