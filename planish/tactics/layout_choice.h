#pragma once

#include "planish/tactics/tactic.h"

namespace planish {

/// True for tensors that may lie in another layout than row-major.
bool has_layout_choice(const TensorDesc& desc);
/// The view with `in` for all its inputs and `out` for all its outputs that have a choice. Constants stay as they are.
NodeView with_layouts(const NodeView& view, Layout in, Layout out);
/// A Reformat of one tensor to another layout, and to another type unless `type` is undefined. `node` gets the
/// operator and must outlive the view.
NodeView reformat_view(const TensorDesc& from, Layout to, Node& node, DType type = DType::undefined);

}  // namespace planish
