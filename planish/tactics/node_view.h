#pragma once

#include <optional>
#include <span>

#include "planish/tactics/tactic.h"

namespace planish {

/// What tactics decide on, for a node whose value facts are the given vectors (all indexed by ValueId, as ShapeFacts
/// holds them). Values without a shape are described as absent. Constants are those of the graph, else values that
/// shape arithmetic knows; one whose data was packed away is nullptr.
NodeView node_view(const Graph& graph, const Node& node, std::span<const DType> dtypes,
                   std::span<const std::optional<Shape>> shapes, std::span<const std::optional<Tensor>> values);

}  // namespace planish
