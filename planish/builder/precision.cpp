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

std::string_view label(DType type) { return type == DType::f16 ? "FP16" : "BF16"; }

/// Types to try for the layer, best first; empty: FP32.
std::vector<DType> wanted_types(const Node& node, const BuildOptions& options) {
  std::vector<DType> types;
  if (options.fp16) types.push_back(DType::f16);
  if (options.bf16) types.push_back(DType::bf16);
  if (options.precision_constraints == PrecisionConstraints::none) return types;
  const auto asked = requested_precision(node, options);
  if (!asked) return types;
  if (*asked == DType::f16 || *asked == DType::bf16) return {*asked};
  return {};
}

/// Stores all packed f32 weights of the layer as `type`; false when one would overflow.
bool store_weights(const NodeView& view, LayerPlan& layer, DType type) {
  std::vector<PackedConstant> stored = layer.packed;
  for (PackedConstant& p : stored) {
    if (view.inputs[static_cast<size_t>(p.input)].dtype != DType::f32) continue;
    auto half = store_half(p, type);
    if (!half) return false;
    p = std::move(*half);
  }
  layer.packed = std::move(stored);
  return true;
}

}  // namespace

std::optional<DType> requested_precision(const Node& node, const BuildOptions& options) {
  std::optional<DType> type;
  for (const auto& [pattern, asked] : options.layer_precisions) {
    const auto hit = [&p = pattern](const std::string& name) { return matches(p, name); };
    if (hit(node.name) || std::ranges::any_of(node.origins, hit)) type = asked;
  }
  return type;
}

void apply_precision(const NodeView& view, const BuildOptions& options, LayerPlan& layer,
                     std::vector<std::string>& overflowed) {
  const std::vector<DType> types = wanted_types(*view.node, options);
  const bool has_weights = std::ranges::any_of(layer.packed, [&view](const PackedConstant& p) {
    return view.inputs[static_cast<size_t>(p.input)].dtype == DType::f32;
  });
  if (!has_weights || types.empty()) return;
  for (const DType type : types) {
    if (!store_weights(view, layer, type)) {
      overflowed.push_back(view.node->name);
      layer.note = fmt::format("weights beyond the range of {} stay in FP32", label(type));
      continue;
    }
    layer.note =
        fmt::format("weights stored in {}, computed in FP32 (no native {} tactic here)", label(type), label(type));
    return;
  }
}

}  // namespace planish
