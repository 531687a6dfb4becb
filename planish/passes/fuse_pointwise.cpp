// Trees and chains of elementwise float operators of one shape -> planish.Pointwise. A node joins when everybody who
// reads it has joined and its result has the shape of the whole, so that nothing is computed twice; what is smaller
// (a scalar, a vector along the channels, a gate of squeeze and excitation) stays an input and is broadcast.
// QuantizeLinear and DequantizeLinear with one scale are steps too, and alone a program, so that elementwise layers
// read and write bytes.

#include <algorithm>
#include <limits>
#include <map>
#include <set>

#include "planish/ops/elementwise.h"
#include "planish/ops/pointwise.h"
#include "planish/passes/match.h"
#include "planish/passes/pass.h"
#include "planish/passes/quantization.h"
#include "planish/passes/symbolic_shapes.h"

namespace planish {
namespace {

/// Longer programs and more inputs would spill the registers of the kernels that run them.
constexpr size_t kMaxSteps = 16;
/// Quantised chains have a QuantizeLinear and a DequantizeLinear behind every function.
constexpr size_t kMaxQuantizedSteps = 40;
constexpr size_t kMaxInputs = 8;

/// One node as a step: the function's name, its operands and parameters.
struct Step {
  std::string_view op;
  std::vector<ValueId> operands;
  ScalarParams params;
  bool has_params = false;
  std::optional<TensorQuantization> quantization;  ///< of Q and DQ steps

  [[nodiscard]] std::string text(const std::vector<int32_t>& at) const {
    if (quantization)
      return quantization_step(at[0], quantization->scale, quantization->zero,
                               op == "QuantizeLinear" ? quantization->type : DType::undefined);
    const ScalarParams* p = has_params ? &params : nullptr;
    if (at.size() == 1) return pointwise_step(op, {at[0]}, p);
    return at.size() == 2 ? pointwise_step(op, {at[0], at[1]}, p) : pointwise_step(op, {at[0], at[1], at[2]}, p);
  }
};

/// A Cast of integer sums to f32, which dynamic quantisation has behind its products.
bool widens_sums(const Edit& edit, int32_t n) {
  const Node& node = edit.node(n);
  if (!node.is("Cast") || node.attr_int("to", 0) != static_cast<int64_t>(DType::f32)) return false;
  return edit.made_by(node.in(0), "MatMulInteger") != nullptr || edit.made_by(node.in(0), "ConvInteger") != nullptr;
}

std::optional<Step> quantization_of(const Edit& edit, int32_t n) {
  auto q = quantize_node(edit, n);
  Step step;
  step.op = q ? "QuantizeLinear" : "DequantizeLinear";
  if (!q) q = dequantize_node(edit, n);
  if (!q && widens_sums(edit, n)) q = TensorQuantization{.scale = 1, .zero = 0, .type = DType::undefined};
  if (!q) return std::nullopt;
  step.quantization = q;
  step.operands = {edit.node(n).in(0)};
  return step;
}

bool clip_bounds(const Edit& edit, const Node& clip, ScalarParams& params) {
  params.alpha = -std::numeric_limits<double>::infinity();
  params.beta = std::numeric_limits<double>::infinity();
  for (size_t i = 1; i < 3; ++i) {
    if (clip.in(i) == kNoValue) continue;
    const auto bound = scalar_of(edit, clip.in(i));
    if (!bound) return false;
    (i == 1 ? params.alpha : params.beta) = *bound;
  }
  return true;
}

std::optional<Step> step_of(const Edit& edit, int32_t n) {
  const Node& node = edit.node(n);
  if (!node.domain.empty() || node.outputs.size() != 1) return std::nullopt;
  if (auto quantization = quantization_of(edit, n)) return quantization;
  Step step;
  step.operands = node.inputs;
  if (node.op == "Where") {
    step.op = "Where";
  } else if (const UnaryFunction* unary = find_unary_function(node.op); unary != nullptr && unary->block != nullptr) {
    step.op = unary->op;
    step.params = params_of(*unary, node);
    step.has_params = true;
    if (node.op == "Clip" && !clip_bounds(edit, node, step.params)) return std::nullopt;
    step.operands.resize(1);
  } else if (const BinaryFunction* binary = binary_function_of(node); binary != nullptr && binary->block != nullptr) {
    step.op = binary->op;
    if (node.inputs.size() != 2) return std::nullopt;
  } else {
    return std::nullopt;
  }
  for (size_t i = 0; i < step.operands.size(); ++i) {
    if (step.operands[i] == kNoValue) return std::nullopt;
    const DType t = edit.dtype(step.operands[i]);
    if (!dtype_is_float(t) && t != DType::boolean) return std::nullopt;
  }
  return step;
}

class Cluster {
 public:
  Cluster(const Edit& edit, const SymbolicShapes& shapes, int32_t root) : edit_(edit), shapes_(shapes), root_(root) {
    nodes_.insert(root);
  }

  /// Takes in producers until none fits any more.
  void grow() {
    for (bool grown = true; grown && nodes_.size() < limit_;) {
      grown = false;
      for (const ValueId v : inputs()) {
        if (!may_join(v)) continue;
        if (edit_.node(edit_.producer(v)).is("DequantizeLinear")) limit_ = kMaxQuantizedSteps;
        nodes_.insert(edit_.producer(v));
        if (inputs().size() > kMaxInputs)
          nodes_.erase(edit_.producer(v));
        else
          grown = true;
        if (grown) break;
      }
    }
  }

  [[nodiscard]] size_t size() const { return nodes_.size(); }
  [[nodiscard]] std::vector<int32_t> nodes() const { return {nodes_.begin(), nodes_.end()}; }

  [[nodiscard]] Node fused() const {
    Node whole = fused_node("Pointwise", "planish", parts(edit_, nodes()));
    whole.inputs = inputs();
    std::map<ValueId, int32_t> place;  // of inputs and results, in the program's numbering
    for (const ValueId v : whole.inputs) place.emplace(v, static_cast<int32_t>(place.size()));
    const auto first = static_cast<int32_t>(whole.inputs.size());
    std::vector<std::string> steps;
    for (const int32_t n : nodes_) {
      const Step step = *step_of(edit_, n);
      std::vector<int32_t> at;
      for (const ValueId v : step.operands) at.push_back(place.at(v));
      // Forked DequantizeLinear nodes meet again here.
      const auto twin = std::ranges::find(steps, step.text(at));
      place[edit_.node(n).out(0)] = first + static_cast<int32_t>(twin - steps.begin());
      if (twin == steps.end()) steps.push_back(step.text(at));
    }
    whole.attrs["steps"] = std::move(steps);
    return whole;
  }

 private:
  /// Values that come from outside, each once, in the order of their use.
  [[nodiscard]] std::vector<ValueId> inputs() const {
    std::vector<ValueId> out;
    for (const int32_t n : nodes_) {
      const Step step = *step_of(edit_, n);
      for (const ValueId v : step.operands)
        if (!nodes_.contains(edit_.producer(v)) && std::ranges::find(out, v) == out.end()) out.push_back(v);
    }
    return out;
  }

  [[nodiscard]] bool may_join(ValueId v) const {
    const int32_t n = edit_.producer(v);
    if (n < 0 || edit_.is_output(v) || !step_of(edit_, n)) return false;
    const auto joined = [this](int32_t reader) { return nodes_.contains(reader); };
    return std::ranges::all_of(edit_.consumers(v), joined) && shapes_.same_shape(v, edit_.node(root_).out(0));
  }

  const Edit& edit_;
  const SymbolicShapes& shapes_;
  int32_t root_;
  size_t limit_ = kMaxSteps;
  std::set<int32_t> nodes_;  ///< in graph order
};

}  // namespace

Result<Graph> fuse_pointwise(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  const SymbolicShapes shapes(graph);
  // From the end, so that a chain is taken whole from its last node.
  for (int32_t n = edit.size() - 1; n >= 0; --n) {
    if (!edit.alive(n)) continue;
    const auto step = step_of(edit, n);
    if (!step || (!step->quantization && !dtype_is_float(edit.dtype(edit.node(n).out(0))))) continue;
    Cluster cluster(edit, shapes, n);
    cluster.grow();
    if (cluster.size() > 1 || step->quantization) edit.replace_pattern(n, cluster.fused());
  }
  return std::move(edit).finish();
}

}  // namespace planish
