#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace planish {

/// Parameters of an activation. What alpha and beta mean depends on the function: see UnaryFunction.
struct ScalarParams {
  double alpha = 0;
  double beta = 0;
  bool approximate_tanh = false;  ///< Gelu with approximate="tanh"

  bool operator==(const ScalarParams&) const = default;
};

/// One function of one variable, named like its ONNX operator. The only definition of its meaning: reference
/// operators, `Pointwise` and fused activations all read this table.
struct UnaryFunction {
  std::string_view op;
  std::string_view alpha_attr;  ///< ONNX attribute behind ScalarParams::alpha, "" when there is none
  std::string_view beta_attr;
  double alpha = 0;  ///< defaults of the attributes
  double beta = 0;
  bool gives_bool = false;
  double (*scalar)(double x, const ScalarParams&) = nullptr;
  /// The same for n elements; x and y may be the same memory. Integer forms are nullptr where ONNX has none.
  void (*block)(int64_t n, const double* x, double* y, const ScalarParams&) = nullptr;
  void (*block_i64)(int64_t n, const int64_t* x, int64_t* y, const ScalarParams&) = nullptr;
  void (*block_u64)(int64_t n, const uint64_t* x, uint64_t* y, const ScalarParams&) = nullptr;

  [[nodiscard]] ScalarParams default_params() const { return {alpha, beta, false}; }
};

/// One function of two variables. Names are ONNX operators, and "Fmod" (Mod with fmod=1), "ShiftLeft" and
/// "ShiftRight" (BitShift by direction).
struct BinaryFunction {
  std::string_view op;
  bool gives_bool = false;
  double (*scalar)(double a, double b) = nullptr;
  /// nullptr where the function does not exist in that number system. Integers wrap modulo 2^64; a division by zero
  /// gives 0. y may be the memory of a or b.
  void (*block)(int64_t n, const double* a, const double* b, double* y) = nullptr;
  void (*block_i64)(int64_t n, const int64_t* a, const int64_t* b, int64_t* y) = nullptr;
  void (*block_u64)(int64_t n, const uint64_t* a, const uint64_t* b, uint64_t* y) = nullptr;
};

std::span<const UnaryFunction> unary_functions();
std::span<const BinaryFunction> binary_functions();
/// nullptr when there is no such function. Clip is one here, with alpha = min and beta = max.
const UnaryFunction* find_unary_function(std::string_view op);
const BinaryFunction* find_binary_function(std::string_view op);

}  // namespace planish
