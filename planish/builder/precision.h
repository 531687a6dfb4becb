#pragma once

#include "planish/builder/builder.h"

namespace planish {

/// Applies --fp16, --bf16 and the layer precisions to one layer whose weights are packed: stores f32 weights in the
/// allowed 16-bit type (FP16 before BF16, since it keeps more bits), or leaves them and says why in the layer's note.
/// Weights beyond the range of FP16 stay as they are, or take BF16 when that is allowed; `overflowed` then gets the
/// layer's name. See docs/precision.md.
void apply_precision(const NodeView& view, const BuildOptions& options, LayerPlan& layer,
                     std::vector<std::string>& overflowed);

/// The type that --layerPrecisions asks for: the last entry whose name or pattern (one '*') matches the node's name or
/// one of its ONNX nodes; nullopt when none does.
std::optional<DType> requested_precision(const Node& node, const BuildOptions& options);

}  // namespace planish
