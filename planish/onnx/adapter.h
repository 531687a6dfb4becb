#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "planish/base/status.h"
#include "planish/ir/graph.h"

namespace planish {

/// Names for values and nodes that the file does not have. Implemented by the importer.
class NameSource {
 public:
  virtual ~NameSource() = default;
  /// A value name that nobody uses in this graph, made from `stem`.
  virtual std::string fresh_value_name(std::string_view stem) = 0;
  /// The same for nodes.
  virtual std::string fresh_node_name(std::string_view stem) = 0;
};

/// What an adapter sees: a node as the file has it, which it changes into the newest version's form. It may add
/// constants and other nodes; their order does not matter, the importer sorts afterwards.
class AdaptContext {
 public:
  AdaptContext(Graph& in_graph, NameSource& names, Node& adapted, int64_t at_opset)
      : node(adapted), graph(in_graph), opset(at_opset), names_(names) {}

  Node& node;
  Graph& graph;
  const int64_t opset;  ///< of the node's domain, as the file (or function) imports it

  /// A new constant called "<node>/<stem>".
  ValueId constant(std::string_view stem, Tensor tensor);
  /// A new value without a producer yet.
  ValueId value(std::string_view stem);
  /// Adds a node with one output and returns that output. `origins` are those of `node`.
  ValueId emit(std::string_view op, std::vector<ValueId> inputs, std::map<std::string, Attr> attrs = {});
  /// Adds a node whose outputs exist already.
  void emit_into(std::string_view op, std::vector<ValueId> inputs, std::vector<ValueId> outputs,
                 std::map<std::string, Attr> attrs = {});
  /// Puts `v` at input `i`, filling the gap before it with absent inputs.
  void set_input(size_t i, ValueId v);
  /// Moves an attribute of ints into input `i`; nothing happens when the attribute is absent.
  void ints_attr_to_input(const std::string& attr, size_t i);
  /// True when somebody named output `i`.
  [[nodiscard]] bool has_output(size_t i) const { return node.out(i) != kNoValue; }
  /// True when input `i` is given.
  [[nodiscard]] bool has_input(size_t i) const { return node.in(i) != kNoValue; }
  /// Rank where the file tells it, -1 otherwise.
  [[nodiscard]] int64_t declared_rank(ValueId v) const;
  /// An error that names the node.
  [[nodiscard]] Error error(std::string what, std::string fix = {}) const;

 private:
  NameSource& names_;
};

/// One change of an operator's form or meaning. `from` and `to` are the opsets (inclusive) that need `adapt`.
/// Several rows of one operator apply in the order of the table.
struct Adapter {
  std::string_view op;
  int64_t from;
  int64_t to;
  Status (*adapt)(AdaptContext&);
  std::string_view domain = "";
  uint32_t required = 0;     ///< bit i: input i must be there (other domains have no table of signatures)
  bool needs_ranks = false;  ///< waits until the whole graph is read, so that declared_rank() knows every input
};

/// The domain of ONNX Runtime's own operators. Its rows turn them into operators of the default domain.
inline constexpr std::string_view kMicrosoftDomain = "com.microsoft";

// The rows by topic; all_adapters() joins them into the one table.
std::span<const Adapter> shape_adapters();
std::span<const Adapter> reduce_adapters();
std::span<const Adapter> nn_adapters();
std::span<const Adapter> resize_adapters();
std::span<const Adapter> broadcast_adapters();
std::span<const Adapter> scan_adapters();
std::span<const Adapter> quantised_adapters();
std::span<const Adapter> quantised_matmul_adapters();
std::span<const Adapter> block_quantised_adapters();
std::span<const Adapter> fused_adapters();
std::span<const Adapter> transformer_adapters();

/// All rows, sorted by operator (rows of one operator keep their order).
std::span<const Adapter> all_adapters();

/// Applies every row that fits the node, except those that need ranks.
Status adapt_node(AdaptContext& ctx);

/// True when a row that needs ranks waits for the node.
bool adapts_late(const Node& node, int64_t opset);

/// A node that waits for the whole graph.
struct LateNode {
  std::string name;
  int64_t opset = 0;
};

/// Applies the rows that need ranks to the nodes of `graph` named in `nodes`.
Status adapt_late(Graph& graph, NameSource& names, std::span<const LateNode> nodes);

/// Softmax, LogSoftmax and Hardmax before opset 13 work on a matrix: all dimensions from `axis` on are one. The rank
/// decides whether that differs from today's meaning, and it is known only when the whole graph is.
/// `nodes` are the names of such nodes in `graph`.
Status adapt_legacy_softmax(Graph& graph, NameSource& names, std::span<const std::string> nodes);

}  // namespace planish
