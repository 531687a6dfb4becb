// f16 and bf16 graphs -> f32 graphs: initialisers are widened, casts towards 16 bits vanish, and Casts stay at network
// inputs and outputs, whose types do not change. Which layers compute in 16 bits is the builder's choice afterwards.
//
// Nodes with a body (If, Loop, Scan) and operators of other domains keep their types, with Casts around them.

#include <algorithm>
#include <map>
#include <vector>

#include "planish/passes/edit.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

bool is_half(DType t) { return t == DType::f16 || t == DType::bf16; }

bool keeps_types(const Node& node) {
  if (!node.domain.empty() && node.domain != "planish") return true;
  if (node.op == "BitCast") return true;
  return node.has_bodies();
}

/// Rewrites values in place; nodes are appended to a new list, so that Casts stand where they are needed.
class Widener {
 public:
  explicit Widener(const Graph& graph) : graph_(graph), type_(graph.values.size()), fixed_(graph.values.size(), false) {
    for (size_t v = 0; v < type_.size(); ++v) type_[v] = graph.values[v].dtype;
    const auto fix = [this](ValueId v) {
      if (v != kNoValue) fixed_[static_cast<size_t>(v)] = true;
    };
    for (const ValueId v : graph.outputs) fix(v);
    for (const ValueId v : sources()) fix(v);
    for (const Node& node : graph.nodes) {
      if (!keeps_types(node)) continue;
      for (const ValueId v : node.inputs) fix(v);
      for (const ValueId v : node.outputs) fix(v);
    }
  }

  Graph run() {
    std::vector<Node> nodes = std::move(graph_.nodes);
    graph_.nodes.clear();
    for (const ValueId v : sources())
      if (half(v)) add_cast(v, wide_of(v), v);
    for (Node& node : nodes) {
      if (keeps_types(node))
        keep(std::move(node));
      else
        widen(std::move(node));
    }
    return std::move(graph_);
  }

 private:
  /// Values that come from outside: inputs, and what a body reads of the graph around it.
  [[nodiscard]] std::vector<ValueId> sources() const {
    std::vector<ValueId> out = graph_.inputs;
    for (const auto& [index, v] : graph_.captures) out.push_back(v);
    return out;
  }

  [[nodiscard]] bool half(ValueId v) const {
    return v != kNoValue && static_cast<size_t>(v) < type_.size() && is_half(type_[static_cast<size_t>(v)]);
  }

  /// The value that carries `v` in f32: itself, or a twin where it has to exist in 16 bits.
  ValueId wide_of(ValueId v) {
    if (!half(v)) return v;
    if (const auto it = wide_.find(v); it != wide_.end()) return it->second;
    Value wide = graph_.value(v);
    wide.dtype = DType::f32;
    if (wide.constant) wide.constant = wide.constant->cast(DType::f32);
    if (!fixed_[static_cast<size_t>(v)]) {
      graph_.value(v) = std::move(wide);
      return wide_[v] = v;
    }
    wide.name = graph_.unique_name(wide.name + "@f32");
    return wide_[v] = graph_.add_value(std::move(wide));
  }

  /// `named` is the value in 16 bits, which gives the Cast its name.
  void add_cast(ValueId from, ValueId to, ValueId named) {
    const DType type = from == named ? DType::f32 : type_[static_cast<size_t>(named)];
    graph_.nodes.push_back(Node{.op = "Cast",
                                .domain = {},
                                .name = "Cast of " + graph_.value(named).name,
                                .inputs = {from},
                                .outputs = {to},
                                .attrs = {{"to", static_cast<int64_t>(type)}},
                                .origins = {}});
  }

  static void widen_attributes(Node& node) {
    for (const char* key : {"to", "dtype", "output_dtype", "stash_type"})
      if (is_half(static_cast<DType>(node.attr_int(key, 0)))) node.attrs[key] = static_cast<int64_t>(DType::f32);
    if (const auto type = dtype_from_name(node.attr_string("y_type", "")); type && is_half(*type))
      node.attrs.erase("y_type");
    for (auto& [key, attr] : node.attrs)
      if (auto* tensor = std::get_if<Tensor>(&attr); tensor != nullptr && is_half(tensor->dtype()))
        *tensor = tensor->cast(DType::f32);
  }

  void widen(Node node) {
    const std::vector<ValueId> outputs = node.outputs;
    if (std::ranges::any_of(outputs, [this](ValueId v) { return half(v); })) widen_attributes(node);
    for (ValueId& v : node.inputs) v = wide_of(v);
    for (ValueId& v : node.outputs) v = wide_of(v);
    graph_.nodes.push_back(std::move(node));
    for (const ValueId v : outputs) {
      if (half(v) && wide_of(v) != v) add_cast(wide_of(v), v, v);
    }
  }

  void keep(Node node) {
    const std::vector<ValueId> outputs = node.outputs;
    graph_.nodes.push_back(std::move(node));
    for (const ValueId v : outputs)
      if (half(v)) add_cast(v, wide_of(v), v);
  }

  Graph graph_;
  std::vector<DType> type_;  ///< of every value before
  std::vector<bool> fixed_;  ///< has to exist in its own type
  std::map<ValueId, ValueId> wide_;
};

}  // namespace

Result<Graph> widen_half(const Graph& graph, const PassOptions&) {
  const bool any = std::ranges::any_of(graph.values, [](const Value& v) { return is_half(v.dtype); });
  if (!any) return graph;
  // What nobody reads any more goes with finish().
  return std::move(Edit(Widener(graph).run())).finish();
}

}  // namespace planish
