#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "planish/base/status.h"
#include "planish/ir/graph.h"
#include "planish/onnx/adapter.h"
#include "planish/onnx/attributes.h"
#include "planish/onnx/tensor_proto.h"

namespace onnx {
class FunctionProto;
class GraphProto;
class ModelProto;
class NodeProto;
class ValueInfoProto;
}  // namespace onnx

namespace planish {

using OpsetMap = std::map<std::string, int64_t>;  ///< version by domain; the default domain is ""

/// "ai.onnx" is another spelling of the default domain.
std::string canonical_domain(const std::string& domain);

/// What all graphs of one import share.
struct ImportState {
  explicit ImportState(std::filesystem::path folder) : reader(std::move(folder)) {}

  TensorReader reader;
  std::map<std::string, const onnx::FunctionProto*> functions;  ///< by function_key()
  std::map<const onnx::FunctionProto*, OpsetMap> function_opsets;
  std::vector<std::string> unsupported;  ///< one line per node that planish has no operator for
  std::vector<const onnx::FunctionProto*> call_stack;
  int64_t depth = 0;          ///< subgraphs and functions around the node at hand
  int64_t inlined_nodes = 0;  ///< made from functions, which can multiply a small file
  int64_t inlined_bytes = 0;  ///< of their names and attributes
};

std::string function_key(const std::string& domain, const std::string& name, const std::string& overload);

/// The names that one graph or function body can see.
struct Frame {
  std::unordered_map<std::string, ValueId> names;
  Frame* outer = nullptr;                       ///< frame around a subgraph; nullptr for the main graph and functions
  class GraphBuilder* outer_builder = nullptr;  ///< whose values `outer` names
  const OpsetMap* opsets = nullptr;
  const AttrBindings* bindings = nullptr;  ///< inside functions
  std::string prefix;                      ///< of node and value names inside functions
};

/// Turns one GraphProto into a Graph. Each subgraph has a builder of its own; function bodies go into the caller's.
class GraphBuilder : public NameSource {
 public:
  explicit GraphBuilder(ImportState& state) : state_(state) {}

  /// Fills the graph. `owned`, when given, is `proto` itself, whose initialisers may be moved out.
  Status build(const onnx::GraphProto& proto, Frame& frame, onnx::GraphProto* owned = nullptr);
  [[nodiscard]] Graph take() && { return std::move(graph_); }
  /// Values of the enclosing graph that this one reads, in the order of Graph::captures (whose indices count from 0
  /// until the owning node adds its own inputs).
  [[nodiscard]] const std::vector<ValueId>& captured() const { return captured_; }

  std::string fresh_value_name(std::string_view stem) override;
  std::string fresh_node_name(std::string_view stem) override;

 private:
  Status declare_inputs(const onnx::GraphProto& proto, Frame& frame);
  Status declare_initialisers(const onnx::GraphProto& proto, Frame& frame, onnx::GraphProto* owned);
  Status declare_initialiser(const std::string& name, Result<Tensor> tensor, Frame& frame);
  /// Makes the values that nodes write. `bound` are names that the frame maps to values already (function outputs).
  template <typename Nodes>
  Status declare_node_outputs(const Nodes& nodes, Frame& frame, std::unordered_set<std::string> bound = {});
  Status set_outputs(const onnx::GraphProto& proto, Frame& frame);
  Status finish();

  /// A new value under `name`; invalid_model when the frame has that name already.
  Result<ValueId> declare(const std::string& name, Frame& frame);
  /// The value called `name`, captured from an enclosing graph if need be; kNoValue when nobody defines it.
  Result<ValueId> resolve(const std::string& name, Frame& frame);
  ValueId capture(ValueId outer_id, const Graph& outer);
  [[nodiscard]] Status check_readable(ValueId v) const;
  /// resolve(), but a name that nobody defines is an error of `node`.
  Result<ValueId> read_input(const std::string& name, const Node& node, Frame& frame);

  Status add_node(const onnx::NodeProto& proto, size_t index, Frame& frame);
  Status add_attributes(const onnx::NodeProto& proto, Node& node, Frame& frame);
  Status add_subgraph(const std::string& key, const onnx::GraphProto& body, Node& node, Frame& frame);
  Status inline_function(const onnx::FunctionProto& function, const onnx::NodeProto& call, const Node& node,
                         Frame& frame);
  Status charge_inlined(const onnx::NodeProto& proto);
  void check_supported(size_t first_node, int64_t opset);

  ImportState& state_;
  Graph graph_;
  std::vector<ValueId> captured_;
  std::map<ValueId, std::string> unreadable_;  ///< values that no node may read, and why
  std::unordered_set<std::string> value_names_;
  std::unordered_set<std::string> node_names_;
  std::unordered_map<std::string, int64_t> next_suffix_;
  std::vector<std::string> legacy_softmax_;
  std::vector<LateNode> late_;
};

}  // namespace planish
