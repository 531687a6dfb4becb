#pragma once

#include "planish/builder/builder.h"
#include "planish/builder/selection.h"

namespace planish {

/// Which types each node may be computed in, by --fp16, --bf16, the layer precisions and BuildOptions::fp32_layers.
/// What follows the last convolution or matrix product of a path stays f32, and that product writes f32: there a
/// rounding error would go straight into the result, and little time is spent. Errors name the layer: a weight beyond
/// the range of FP16 in a layer that must obey.
Result<std::vector<AllowedTypes>> allowed_types(const Graph& graph, const BuildOptions& options);

/// Error invalid_argument for the first layer whose precision or output type had to be obeyed and could not; warns of
/// names that match no layer.
Status check_constraints(const Graph& graph, const std::vector<Choice>& choices, const BuildOptions& options);

/// Describes the precision of one layer whose weights are packed (LayerPlan::precision and note), and stores f32
/// weights in the allowed 16-bit type (FP16 before BF16, since it keeps more bits). Weights beyond the range of FP16
/// stay as they are, or take BF16 when that is allowed; `overflowed` then gets the layer's name. See docs/precision.md.
/// `tactic` packed them; nullptr where nothing did.
Status apply_precision(const NodeView& view, const Tactic* tactic, const Choice& choice, const BuildOptions& options,
                       LayerPlan& layer, std::vector<std::string>& overflowed);

/// The reason why a layer had to stay in FP32 when its engine was built (from BuildOptions::fp32_layers).
std::optional<std::string> fp32_reason(const LayerPlan& layer);

/// The type that a list of (name or pattern with one '*', type) asks for: the last entry that matches the node's name
/// or one of its ONNX nodes; nullopt when none does.
std::optional<DType> requested_type(const Node& node, const std::vector<std::pair<std::string, DType>>& list);

}  // namespace planish
