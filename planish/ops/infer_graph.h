#pragma once

#include <optional>
#include <span>
#include <vector>

#include "planish/ops/op.h"

namespace planish {

/// What is known about every value of a graph after inference.
struct ShapeFacts {
  std::vector<DType> dtypes;                  ///< by ValueId
  std::vector<std::optional<Shape>> shapes;   ///< by ValueId; nullopt: rank unknown; -1: dimension unknown
  std::vector<std::optional<Tensor>> values;  ///< small values computed on the way (shape arithmetic)
};

/// Inference over the whole graph, with shape arithmetic evaluated where its inputs are known.
/// `input_shapes[i]`, when given, replaces the declared shape of graph.inputs[i]; `input_values[i]`, when defined, is
/// the value itself (shape tensors fed from outside). Errors name the node.
Result<ShapeFacts> infer_shapes(const Graph& graph, std::span<const std::optional<Shape>> input_shapes = {},
                                std::span<const Tensor> input_values = {});

/// For graphs as files hold them: ONNX lets a name of a type stand for one type only (OpDecl::one_type), and a file
/// that has two there would be read as what it is not. Within planish some operators take two. Error invalid_model.
Status check_operand_types(const Graph& graph);

/// Inference over the body of If, Loop or Scan. `inputs` (as many as body.inputs, or none) and `captured` (like
/// body.captures) say what the owning node knows; where they know no shape, the declared one counts.
Result<ShapeFacts> infer_body(const Graph& body, std::span<const InferContext::Known> inputs,
                              std::span<const InferContext::Known> captured);

/// infer_shapes, written into the graph's values (types and shapes only).
Status annotate_shapes(Graph& graph, std::span<const std::optional<Shape>> input_shapes = {});

/// Numpy broadcasting of two shapes; -1 stays unknown unless the other dimension decides. nullopt: incompatible.
std::optional<Shape> broadcast_shapes(const Shape& a, const Shape& b);

}  // namespace planish
