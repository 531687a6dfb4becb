#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "planish/base/status.h"
#include "planish/ir/layout.h"
#include "planish/ir/shape.h"
#include "planish/ir/tensor.h"

namespace planish {

struct Graph;

/// Index into Graph::values. kNoValue stands for an optional input or output that is absent.
using ValueId = int32_t;
inline constexpr ValueId kNoValue = -1;

/// Attribute of a node. Subgraphs are immutable once attached.
using Attr = std::variant<int64_t, float, std::string, std::vector<int64_t>, std::vector<float>,
                          std::vector<std::string>, Tensor, std::shared_ptr<const Graph>>;

/// Operators that ONNX defines have domain "" and mean what their NEWEST opset version says: the importer adapts
/// older ones. Operators of ours (fused layers, reformats) have domain "planish"; com.microsoft ones keep theirs.
struct Node {
  std::string op;
  std::string domain;
  std::string name;
  std::vector<ValueId> inputs;   ///< kNoValue for an absent optional input
  std::vector<ValueId> outputs;  ///< kNoValue for an unused optional output
  std::map<std::string, Attr> attrs;
  std::vector<std::string> origins;  ///< names of the ONNX nodes that this one stands for

  [[nodiscard]] bool is(std::string_view op_name, std::string_view in_domain = "") const {
    return op == op_name && domain == in_domain;
  }
  [[nodiscard]] bool has_attr(const std::string& key) const { return attrs.contains(key); }
  /// Attribute values with their default; a value of another kind counts as absent.
  [[nodiscard]] int64_t attr_int(const std::string& key, int64_t fallback) const;
  [[nodiscard]] float attr_float(const std::string& key, float fallback) const;
  [[nodiscard]] std::string attr_string(const std::string& key, std::string_view fallback) const;
  [[nodiscard]] std::vector<int64_t> attr_ints(const std::string& key, std::vector<int64_t> fallback = {}) const;
  [[nodiscard]] std::vector<float> attr_floats(const std::string& key, std::vector<float> fallback = {}) const;
  [[nodiscard]] const Tensor* attr_tensor(const std::string& key) const;
  /// Whether the node owns graphs: If, Loop, Scan.
  [[nodiscard]] bool has_bodies() const;
  [[nodiscard]] std::shared_ptr<const Graph> attr_graph(const std::string& key) const;
  /// Input / output `i`, kNoValue when the list is shorter.
  [[nodiscard]] ValueId in(size_t i) const { return i < inputs.size() ? inputs[i] : kNoValue; }
  [[nodiscard]] ValueId out(size_t i) const { return i < outputs.size() ? outputs[i] : kNoValue; }
};

/// One tensor of the graph. `dtype` undefined and `shape` nullopt mean "not inferred yet".
struct Value {
  std::string name;
  DType dtype = DType::undefined;
  std::optional<Shape> shape;
  std::vector<std::string> dim_names;  ///< symbolic names, "" for none; same length as shape or empty
  Layout layout = Layout::row_major;
  std::optional<Tensor> constant;  ///< set for initialisers and folded values; host memory, row-major

  [[nodiscard]] bool is_constant() const { return constant.has_value(); }
};

/// A network, or the body of If/Loop/Scan. `nodes` is in an order in which every value is defined before its use.
///
/// A subgraph reads values of the enclosing graph only through `captures`: pair (input index of the owning node,
/// value inside the subgraph). The owning node lists the captured values as extra inputs behind its own ones, so that
/// passes see every dependency.
struct Graph {
  std::string name;
  std::vector<Value> values;
  std::vector<Node> nodes;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  std::vector<std::pair<int32_t, ValueId>> captures;
  int64_t opset = 0;  ///< of the default domain, as the file declared it; for reports only

  ValueId add_value(Value value) {
    values.push_back(std::move(value));
    return static_cast<ValueId>(values.size() - 1);
  }
  ValueId add_constant(std::string value_name, Tensor tensor);
  [[nodiscard]] Value& value(ValueId id) { return values[static_cast<size_t>(id)]; }
  [[nodiscard]] const Value& value(ValueId id) const { return values[static_cast<size_t>(id)]; }
  /// Name of a value, "" for kNoValue.
  [[nodiscard]] std::string_view name_of(ValueId id) const {
    return id == kNoValue ? std::string_view{} : std::string_view(value(id).name);
  }
  /// Constant tensor behind a value, nullptr when there is none (also for kNoValue).
  [[nodiscard]] const Tensor* constant_of(ValueId id) const {
    return id != kNoValue && value(id).constant ? &*value(id).constant : nullptr;
  }
  [[nodiscard]] std::optional<ValueId> find_value(std::string_view value_name) const;
  /// A value name that is not taken, made from `stem`.
  [[nodiscard]] std::string unique_name(std::string_view stem) const;
};

/// Who makes and who reads each value. Built on demand; stale after any change of the graph.
struct Uses {
  explicit Uses(const Graph& graph);
  std::vector<int32_t> producer;                ///< node index, -1 for inputs and constants
  std::vector<std::vector<int32_t>> consumers;  ///< node indices, one entry per use
  std::vector<bool> is_output;
  /// The only consumer of a value that is no graph output, or -1.
  [[nodiscard]] int32_t single_consumer(ValueId v) const;
};

/// Checks ids, definitions before uses, single definitions, unique value names and captures, recursively.
Status verify(const Graph& graph);
/// Brings nodes into a topological order (stable); error when there is a cycle.
Status sort_topologically(Graph& graph);

}  // namespace planish
