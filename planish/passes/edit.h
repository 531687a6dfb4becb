#pragma once

#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "planish/ir/graph.h"

namespace planish {

/// A copy of a graph that is being rewritten, with producers and consumers kept up to date. Node indices stay valid
/// until finish(): removed nodes leave a gap, new ones get indices at the end and are put into place by finish().
///
/// Names of graph inputs and outputs never change.
class Edit {
 public:
  explicit Edit(const Graph& graph);

  [[nodiscard]] int32_t size() const { return static_cast<int32_t>(graph_.nodes.size()); }
  [[nodiscard]] bool alive(int32_t n) const { return alive_[static_cast<size_t>(n)]; }
  [[nodiscard]] const Node& node(int32_t n) const { return graph_.nodes[static_cast<size_t>(n)]; }
  [[nodiscard]] const Graph& graph() const { return graph_; }
  [[nodiscard]] const Value& value(ValueId v) const { return graph_.value(v); }
  [[nodiscard]] const Tensor* constant(ValueId v) const { return graph_.constant_of(v); }
  /// Attributes, name and origins may be changed through this; inputs and outputs only by the functions below.
  [[nodiscard]] Node& mutable_node(int32_t n) { return graph_.nodes[static_cast<size_t>(n)]; }

  /// Index of the node that makes `v`, -1 for graph inputs, constants and kNoValue.
  [[nodiscard]] int32_t producer(ValueId v) const { return v == kNoValue ? -1 : producer_[static_cast<size_t>(v)]; }
  /// The producer when it is the operator `op` of `domain`, else nullptr.
  [[nodiscard]] const Node* made_by(ValueId v, std::string_view op, std::string_view domain = "") const;
  [[nodiscard]] const std::vector<int32_t>& consumers(ValueId v) const { return consumers_[static_cast<size_t>(v)]; }
  [[nodiscard]] bool is_output(ValueId v) const { return outputs_[static_cast<size_t>(v)]; }
  /// The only use of a value that is no graph output: its consumer, or -1.
  [[nodiscard]] int32_t single_consumer(ValueId v) const;
  [[nodiscard]] bool is_unused(ValueId v) const { return consumers(v).empty() && !is_output(v); }
  /// Rank and shape as far as they are known; -1 / nullptr when not.
  [[nodiscard]] int64_t rank(ValueId v) const;
  [[nodiscard]] const Shape* shape(ValueId v) const;
  [[nodiscard]] DType dtype(ValueId v) const { return value(v).dtype; }

  ValueId new_value(std::string_view stem, DType dtype = DType::undefined, std::optional<Shape> shape = std::nullopt);
  ValueId new_constant(std::string_view stem, Tensor tensor);
  /// Turns the value of a node that is about to be removed into a constant.
  void set_constant(ValueId v, Tensor tensor);
  /// Adds a node that runs before node `anchor` as far as its inputs allow. Returns its index.
  int32_t insert(int32_t anchor, Node node);
  /// Adds a node with one output like insert(), of the default domain, named and originated like `named`; returns its
  /// output, which has the first input's type.
  ValueId insert_op(int32_t anchor, std::string_view op, const Node& named, std::vector<ValueId> inputs,
                    std::map<std::string, Attr> attrs = {});
  /// Puts `node` in the place of node `n`.
  void replace(int32_t n, Node node);
  void set_input(int32_t n, size_t slot, ValueId v);
  void set_inputs(int32_t n, std::vector<ValueId> inputs);
  void remove(int32_t n);
  /// Makes every reader of `from` read `to` instead. When `from` is a graph output, `to` takes over its name; that is
  /// impossible (false, nothing changed) when `to` is a graph input, a constant or a graph output itself.
  bool forward(ValueId from, ValueId to);
  /// Puts `whole`, which computes the outputs of node `root`, in its place and removes what only `root` needed.
  void replace_pattern(int32_t root, Node whole);
  /// Removes node `n` if nobody reads its outputs, then its producers in the same way.
  void remove_if_unused(int32_t n);

  [[nodiscard]] bool changed() const { return changed_; }
  /// The rewritten graph: gaps closed, nodes sorted, values that nothing refers to dropped.
  [[nodiscard]] Result<Graph> finish() &&;

 private:
  void link(int32_t n);
  void unlink(int32_t n);
  std::string unique(std::string_view stem);

  Graph graph_;
  std::vector<bool> alive_;
  std::vector<int32_t> order_;  ///< sort key: odd for nodes in their own place, even for those in front of one
  std::vector<int32_t> producer_;
  std::vector<std::vector<int32_t>> consumers_;
  std::vector<bool> outputs_;
  std::unordered_set<std::string> names_;  ///< in use, so that new ones are unique
  bool changed_ = false;
};

/// Node name of a fusion: the parts' names joined by " + ".
std::string joined_name(std::string_view a, std::string_view b);
/// Adds the origins of `part` to `whole` (each name once), in front when `first`.
void add_origins(Node& whole, const Node& part, bool first = false);
/// A node named and originated like the fusion of `parts`, given in data-flow order.
Node fused_node(std::string op, std::string domain, const std::vector<const Node*>& parts);

}  // namespace planish
