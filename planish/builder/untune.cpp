#include "planish/builder/untune.h"

#include <fmt/format.h>

#include <vector>

#include "planish/ops/infer_graph.h"
#include "planish/tactics/half_weights.h"
#include "planish/tactics/node_view.h"
#include "planish/tactics/type_choice.h"

namespace planish {
namespace {

/// The node at the tuned shapes in row-major layout, without the values of constants that were packed away.
NodeView plain_view(const Graph& graph, const Node& node, const ShapeFacts& facts) {
  NodeView view = node_view(graph, node, facts.dtypes, facts.shapes, facts.values);
  for (auto* list : {&view.inputs, &view.outputs})
    for (TensorDesc& d : *list) d.layout = Layout::row_major;
  for (const Tensor*& constant : view.constants)
    if (constant != nullptr && constant->raw() == nullptr) constant = nullptr;
  return view;
}

/// Makes layers that were chosen to compute in 16 bits f32 again: their weights, the types they were told to write, and
/// (inferred anew) everything between Reformats that are gone. Casts of the network itself stay.
void widen_layers(Graph& graph) {
  for (Node& node : graph.nodes) {
    if (const auto type = dtype_from_name(node.attr_string("y_type", "")); type && is_half(*type))
      node.attrs.erase("y_type");
    if (node.is("Cast")) continue;
    for (const ValueId v : node.inputs)
      if (const Tensor* constant = graph.constant_of(v); constant != nullptr && is_half(constant->dtype())) {
        graph.value(v).constant = constant->cast(DType::f32);
        graph.value(v).dtype = DType::f32;
      }
  }
  std::vector<bool> known(graph.values.size(), false);
  for (const ValueId v : graph.inputs) known[static_cast<size_t>(v)] = true;
  for (size_t v = 0; v < known.size(); ++v)
    if (!known[v] && !graph.values[v].constant) graph.values[v].dtype = DType::undefined;
}

Status unpack_weights(const Engine& engine, const TacticTable& table, Graph& graph) {
  std::vector<std::optional<Shape>> tuned;
  for (const ShapeRange& r : engine.profiles[0].inputs) tuned.emplace_back(r.opt);
  const ShapeFacts facts = PLANISH_TRY(infer_shapes(graph, tuned));
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    for (const PackedConstant& p : engine.layers[n].packed) {
      if (p.input < 0 || static_cast<size_t>(p.input) >= node.inputs.size() ||
          node.inputs[static_cast<size_t>(p.input)] == kNoValue)
        return Error{.code = Code::corrupt,
                     .node = node.name,
                     .what = "a packed weight belongs to no input",
                     .fix = "build the engine again"};
      Value& value = graph.value(node.inputs[static_cast<size_t>(p.input)]);
      if (!value.constant || (value.constant->raw() != nullptr && value.constant->size() != 0)) continue;
      const PackedConstant whole = PLANISH_TRY(expand_half(p));
      value.constant = PLANISH_TRY(unpack_constant(table, plain_view(graph, node, facts), whole));
    }
  }
  return {};
}

/// Removes Reformat nodes: both sides become one value, the one that the network returns where there is a choice.
void drop_reformats(Graph& graph) {
  const Uses uses(graph);
  std::vector<ValueId> same(graph.values.size());
  for (size_t v = 0; v < same.size(); ++v) same[v] = static_cast<ValueId>(v);
  const auto find = [&same](ValueId v) {
    while (same[static_cast<size_t>(v)] != v) v = same[static_cast<size_t>(v)];
    return v;
  };
  for (const Node& node : graph.nodes) {
    if (!node.is("Reformat", "planish")) continue;
    const ValueId from = find(node.inputs[0]);
    const ValueId to = find(node.outputs[0]);
    const bool keep_output = uses.is_output[static_cast<size_t>(to)] && !uses.is_output[static_cast<size_t>(from)] &&
                             uses.producer[static_cast<size_t>(from)] >= 0;
    if (keep_output)
      same[static_cast<size_t>(from)] = to;
    else if (!uses.is_output[static_cast<size_t>(to)])
      same[static_cast<size_t>(to)] = from;
  }
  std::vector<Node> nodes;
  for (Node& node : graph.nodes) {
    for (auto* list : {&node.inputs, &node.outputs})
      for (ValueId& v : *list)
        if (v != kNoValue) v = find(v);
    if (!node.is("Reformat", "planish")) {
      nodes.push_back(std::move(node));
      continue;
    }
    // Between a network input and a network output there is nothing to join: the copy remains as what it computes.
    if (node.inputs[0] != node.outputs[0]) {
      node.op = "Identity";
      node.domain.clear();
      nodes.push_back(std::move(node));
    }
  }
  graph.nodes = std::move(nodes);
}

}  // namespace

Result<Graph> untuned_graph(const Engine& engine, const TacticTable& table) {
  Graph graph = engine.graph;
  PLANISH_TRY(unpack_weights(engine, table, graph));
  drop_reformats(graph);
  widen_layers(graph);
  // What the network's own inputs and outputs look like was asked for, not tuned.
  std::vector<bool> boundary(graph.values.size(), false);
  for (const auto* list : {&graph.inputs, &graph.outputs})
    for (const ValueId v : *list) boundary[static_cast<size_t>(v)] = true;
  for (size_t v = 0; v < graph.values.size(); ++v)
    if (!boundary[v]) graph.values[v].layout = Layout::row_major;
  PLANISH_TRY(verify(graph));
  PLANISH_TRY(annotate_shapes(graph));
  return graph;
}

}  // namespace planish
