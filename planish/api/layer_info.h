#pragma once

#include <optional>

#include "planish/api/engine.h"
#include "planish/engine/engine.h"
#include "planish/runtime/context.h"

namespace planish::api {

/// A value of the graph for people; `shape` and `dtype` replace what the graph knows, where given.
TensorInfo tensor_info(const Graph& graph, ValueId v, const std::optional<Shape>& shape, std::optional<DType> dtype);

/// One executed step for people, at concrete shapes.
LayerInfo layer_info(const planish::Engine& engine, const StepInfo& step,
                     const std::vector<std::optional<Shape>>& shapes);

}  // namespace planish::api
