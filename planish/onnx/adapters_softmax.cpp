// Softmax, LogSoftmax and Hardmax before opset 13.

#include <algorithm>
#include <array>
#include <unordered_set>

#include "planish/onnx/adapter.h"
#include "planish/ops/infer_graph.h"

namespace planish {
namespace {

/// Flatten -> Softmax over the columns -> Reshape to the old shape.
void flatten_around(AdaptContext& ctx, int64_t axis) {
  const ValueId x = ctx.node.in(0);
  const ValueId y = ctx.node.outputs[0];
  const ValueId matrix = ctx.emit("Flatten", {x}, {{"axis", axis}});
  const ValueId result = ctx.value("matrix");
  ctx.node.inputs[0] = matrix;
  ctx.node.outputs[0] = result;
  ctx.node.attrs["axis"] = int64_t{-1};
  ctx.emit_into("Reshape", {result, ctx.emit("Shape", {x})}, {y}, {{"allowzero", int64_t{1}}});
}

}  // namespace

Status adapt_legacy_softmax(Graph& graph, NameSource& names, std::span<const std::string> nodes) {
  const std::unordered_set<std::string_view> legacy(nodes.begin(), nodes.end());
  // Inference needs an order; a graph with a cycle is refused by the caller.
  if (!sort_topologically(graph).ok()) return {};
  const auto facts = infer_shapes(graph);
  for (size_t i = 0, n = graph.nodes.size(); i < n; ++i) {
    if (!legacy.contains(graph.nodes[i].name)) continue;
    Node node = graph.nodes[i];
    if (node.in(0) == kNoValue || node.out(0) == kNoValue) continue;
    const int64_t axis = node.attr_int("axis", 1);
    const auto x = static_cast<size_t>(node.in(0));
    const bool known = facts.ok() && facts->shapes[x].has_value();
    const int64_t rank = known ? static_cast<int64_t>(facts->shapes[x]->size()) : -1;
    AdaptContext ctx(graph, names, node, graph.opset);
    if (axis == -1 || (known && axis == rank - 1))
      node.attrs["axis"] = int64_t{-1};
    else
      flatten_around(ctx, axis);
    graph.nodes[i] = std::move(node);
  }
  return {};
}

}  // namespace planish
