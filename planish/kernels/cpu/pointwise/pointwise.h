#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "planish/base/isa.h"

namespace planish::kernels {

/// Elementwise functions over f32, named like their ONNX operators.
enum class PointwiseOp : uint8_t {
  identity,
  abs,
  neg,
  reciprocal,
  sqrt,
  exp,
  log,
  floor,
  ceil,
  round,
  sign,
  erf,
  relu,
  leaky_relu,
  elu,
  celu,
  selu,  ///< beta * elu
  sigmoid,
  tanh,
  softplus,
  swish,
  hard_sigmoid,
  hard_swish,
  gelu,
  gelu_tanh,
  mish,
  softsign,
  logical_not,  ///< truth is 1, everything but 0 counts as true
  clip,
  dequantize,   ///< (a - beta) * alpha
  quantize_i8,  ///< round-to-even(a / alpha) + beta, saturated to -128..127; NaN counts as 0
  quantize_u8,  ///< the same, saturated to 0..255
  add,
  sub,
  mul,
  div,
  max,
  min,
  pow,
  prelu,
  equal,
  greater,
  greater_or_equal,
  less,
  less_or_equal,
  logical_and,
  logical_or,
  logical_xor,
  select,  ///< a != 0 ? b : y
};

/// The function behind an ONNX name ("Add", "Gelu"; `tanh_form`: Gelu with approximate="tanh"); nullopt: none here.
std::optional<PointwiseOp> find_pointwise_op(std::string_view onnx_name, bool tanh_form = false);
bool is_binary(PointwiseOp op);

/// y[i] = op(a[i], b[i]) for i < n; `b` is read by binary functions only. y may be a or b. `alpha` and `beta` are the
/// parameters of the ONNX operator (Clip: minimum and maximum). Absolute or relative error against exact arithmetic at
/// most 3e-6, NaN in gives NaN out.
using PointwiseFn = void (*)(PointwiseOp op, int64_t n, const float* a, const float* b, float* y, float alpha,
                             float beta);

struct PointwiseKernel {
  std::string_view name;
  Isa isa;
  PointwiseFn fn;
};

/// Fastest first; the last row runs everywhere.
std::span<const PointwiseKernel> pointwise_kernels();
/// The first row that this machine can run.
const PointwiseKernel& best_pointwise_kernel();

}  // namespace planish::kernels
