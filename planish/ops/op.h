#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "planish/base/status.h"
#include "planish/ir/graph.h"

namespace planish {

/// What shape inference of one node sees and produces. Input shapes have a known rank; single dimensions may be -1.
/// (When an input's rank or type is unknown the driver does not call infer, and the outputs stay unknown.)
class InferContext {
 public:
  struct Known {
    DType dtype = DType::undefined;
    std::optional<Shape> shape;
    const Tensor* value = nullptr;  ///< the value itself, where it is known already
  };

  InferContext(const Node& node, std::vector<Known> inputs) : node_(node), inputs_(std::move(inputs)) {
    outputs_.resize(node.outputs.size());
  }

  [[nodiscard]] const Node& node() const { return node_; }
  [[nodiscard]] size_t num_inputs() const { return inputs_.size(); }
  [[nodiscard]] size_t num_outputs() const { return outputs_.size(); }
  /// True when input `i` is present.
  [[nodiscard]] bool has(size_t i) const { return i < inputs_.size() && inputs_[i].dtype != DType::undefined; }
  [[nodiscard]] DType dtype(size_t i) const { return inputs_[i].dtype; }
  [[nodiscard]] const Shape& shape(size_t i) const { return *inputs_[i].shape; }
  [[nodiscard]] int64_t rank(size_t i) const { return static_cast<int64_t>(shape(i).size()); }
  /// The input's value when it is known at this point, else nullptr.
  [[nodiscard]] const Tensor* value(size_t i) const { return i < inputs_.size() ? inputs_[i].value : nullptr; }
  /// The input's elements as integers when known.
  [[nodiscard]] std::optional<std::vector<int64_t>> ints(size_t i) const;

  /// Declares an output. nullopt: the rank depends on values that are not known yet.
  void set(size_t i, DType dtype, std::optional<Shape> shape) {
    if (i < outputs_.size()) outputs_[i] = Known{dtype, std::move(shape), nullptr};
  }
  [[nodiscard]] const std::vector<Known>& outputs() const { return outputs_; }

  /// An error that names this node. `fix` may be empty.
  [[nodiscard]] Error error(std::string what, std::string fix = {}) const;

 private:
  const Node& node_;
  std::vector<Known> inputs_;
  std::vector<Known> outputs_;
};

/// What a reference operator sees: host tensors in, host tensors out.
class RefContext {
 public:
  /// `outputs[i]` undefined: output() allocates; defined (right type and shape): output() hands out that memory.
  RefContext(const Node& node, std::span<const Tensor* const> inputs, std::span<Tensor> outputs)
      : node_(node), inputs_(inputs), outputs_(outputs) {}

  [[nodiscard]] const Node& node() const { return node_; }
  [[nodiscard]] size_t num_inputs() const { return inputs_.size(); }
  [[nodiscard]] size_t num_outputs() const { return outputs_.size(); }
  [[nodiscard]] bool has(size_t i) const { return i < inputs_.size() && inputs_[i] != nullptr; }
  [[nodiscard]] const Tensor& in(size_t i) const { return *inputs_[i]; }
  /// True when somebody reads output `i`.
  [[nodiscard]] bool wants(size_t i) const { return i < node_.outputs.size() && node_.outputs[i] != kNoValue; }
  /// The memory of output `i`. Its content is unspecified: write every element. Call once per output.
  Result<Tensor*> output(size_t i, DType dtype, Shape shape);

  [[nodiscard]] Error error(std::string what, std::string fix = {}) const;

 private:
  const Node& node_;
  std::span<const Tensor* const> inputs_;
  std::span<Tensor> outputs_;
};

/// Properties that passes and the builder ask for.
enum OpTrait : uint32_t {
  kTraitNone = 0,
  kTraitRandom = 1U << 0,        ///< never folded, never merged with an equal node
  kTraitDynamicShape = 1U << 1,  ///< output shapes depend on input values beyond `shape_inputs`
  kTraitView = 1U << 2,          ///< output 0 has the elements of input 0 in the same row-major order
  kTraitPointwise = 1U << 3,     ///< output element depends on the (broadcast) input elements at its position only
};

/// For OpDecl::one_type: all inputs, however many.
inline constexpr uint32_t kEveryInput = ~uint32_t{0};

/// One operator: the single place that says what it means.
struct OpDecl {
  std::string_view name;
  std::string_view domain = "";
  int since = 1;              ///< first opset that has it (reports and the operator table)
  uint32_t shape_inputs = 0;  ///< bit i: shape inference needs the value of input i
  uint32_t traits = kTraitNone;
  /// Bit i: in a file, input i has the type of the other marked ones (ONNX's T); bit 31: it and all beyond.
  uint32_t one_type = 0;
  Status (*infer)(InferContext&) = nullptr;
  Status (*reference)(RefContext&) = nullptr;
};

/// The operator, or nullptr. Domain "ai.onnx" counts as "".
const OpDecl* find_op(std::string_view domain, std::string_view name);
/// All operators, sorted by domain and name.
std::span<const OpDecl* const> all_ops();
/// The known operator whose name is most like `name` (for error messages); "" when nothing is close.
std::string nearest_op(std::string_view domain, std::string_view name);

/// Runs one node's reference implementation. `inputs[i]` is nullptr for absent inputs; `outputs` may hold undefined
/// tensors (then they are allocated). Errors name the node.
Status run_reference(const Node& node, std::span<const Tensor* const> inputs, std::span<Tensor> outputs);

/// Runs a whole graph with reference operators: the oracle. `inputs` follow graph.inputs; `captured` follow
/// graph.captures. Returns one tensor per graph output.
Result<std::vector<Tensor>> interpret(const Graph& graph, std::span<const Tensor> inputs,
                                      std::span<const Tensor> captured = {});

}  // namespace planish
