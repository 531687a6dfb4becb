#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "planish/ir/graph.h"
#include "planish/ops/scalar_functions.h"

namespace planish {

/// The words of a step's text, which spaces part.
std::vector<std::string_view> step_words(std::string_view text);

/// One step of `planish.Pointwise`: exactly one of the three functions.
struct PointwiseStep {
  const UnaryFunction* unary = nullptr;
  const BinaryFunction* binary = nullptr;
  bool where = false;               ///< operand 0 ? operand 1 : operand 2
  ScalarParams params;              ///< of `unary`
  std::array<int32_t, 3> operands;  ///< 0..n-1: inputs of the node; n + k: result of step k
  int32_t operand_count = 0;
  DType gives = DType::undefined;  ///< what QuantizeLinear (i8, u8) and DequantizeLinear (f32) steps give

  [[nodiscard]] bool gives_bool() const {
    return (unary != nullptr && unary->gives_bool) || (binary != nullptr && binary->gives_bool);
  }
};

/// The chain of elementwise functions behind a `planish.Pointwise` node. The result of the last step is the output.
struct PointwiseProgram {
  int32_t num_inputs = 0;
  std::vector<PointwiseStep> steps;

  /// Runs all steps on `n` elements. `values` holds num_inputs + steps.size() rows of n doubles, the inputs first;
  /// the output is the last row.
  void run(int64_t n, double* const* values) const;
};

/// Parses the attribute `steps`: strings "Op a [b [c]] [key=value ...]". Op is a row of unary_functions() or
/// binary_functions(), or Where. Keys are the ONNX attribute names (alpha, beta, gamma, bias, lambd, min, max,
/// detect_negative, detect_positive, approximate=tanh). "DequantizeLinear a scale=0.1 zero=128" makes real numbers of
/// quantised ones, "QuantizeLinear a scale=0.1 zero=128 type=u8" (or i8) the reverse with one rounding. Errors
/// invalid_model: unknown function or key, an operand that is not defined yet, a wrong number of operands.
Result<PointwiseProgram> parse_pointwise(const Node& node);

/// One step in that notation, e.g. pointwise_step("LeakyRelu", {3}, &params) = "LeakyRelu 3 alpha=0.1".
/// Parameters equal to the function's defaults are left out.
std::string pointwise_step(std::string_view op, std::initializer_list<int32_t> operands,
                           const ScalarParams* params = nullptr);

/// A step DequantizeLinear, or with a `type` of i8 or u8 a step QuantizeLinear.
std::string quantization_step(int32_t operand, float scale, int64_t zero, DType type = DType::undefined);

/// The type of the output: bool after a comparison or logical step, what Q and DQ steps give, else that of the first
/// operand (second of Where).
DType pointwise_dtype(const PointwiseProgram& program, const std::vector<DType>& inputs);

}  // namespace planish
