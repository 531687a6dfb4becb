#pragma once

// The loops behind every instruction set: written so that the compiler vectorises them for whatever the including file
// is compiled for. Included by one file per instruction set and nothing else.

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/base/simd/math.h"
#include "planish/kernels/cpu/pointwise/pointwise.h"

namespace planish::kernels {
namespace {

template <typename F>
PLANISH_INLINE void map1(int64_t n, const float* a, float* y, F f) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = f(a[i]);
}

template <typename F>
PLANISH_INLINE void map2(int64_t n, const float* a, const float* b, float* y, F f) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = f(a[i], b[i]);
}

// std::max and std::min have the wrong answer for NaN in one argument; these return NaN as ONNX Max and Min do.
PLANISH_INLINE float nan_max(float a, float b) { return a > b || a != a ? a : b; }
PLANISH_INLINE float nan_min(float a, float b) { return a < b || a != a ? a : b; }

PLANISH_INLINE float truth(bool b) { return b ? 1.0F : 0.0F; }

PLANISH_INLINE float quantize(float x, float scale, float zero, float low, float high) {
  const float q = __builtin_rintf(x / scale);
  const float shifted = (q != q ? 0.0F : q) + zero;
  const float floor = shifted < low ? low : shifted;
  return floor > high ? high : floor;
}

PLANISH_INLINE void pointwise_generic(PointwiseOp op, int64_t n, const float* a, const float* b, float* y, float alpha,
                                      float beta) {
  using namespace simd;
  switch (op) {
    case PointwiseOp::identity: return map1(n, a, y, [](float x) { return x; });
    case PointwiseOp::abs: return map1(n, a, y, [](float x) { return __builtin_fabsf(x); });
    case PointwiseOp::neg: return map1(n, a, y, [](float x) { return -x; });
    case PointwiseOp::reciprocal: return map1(n, a, y, [](float x) { return 1.0F / x; });
    case PointwiseOp::sqrt: return map1(n, a, y, [](float x) { return __builtin_sqrtf(x); });
    case PointwiseOp::exp: return map1(n, a, y, [](float x) { return exp_f32(x); });
    case PointwiseOp::log: return map1(n, a, y, [](float x) { return log_f32(x); });
    case PointwiseOp::floor: return map1(n, a, y, [](float x) { return __builtin_floorf(x); });
    case PointwiseOp::ceil: return map1(n, a, y, [](float x) { return __builtin_ceilf(x); });
    case PointwiseOp::round: return map1(n, a, y, [](float x) { return __builtin_rintf(x); });
    case PointwiseOp::sign:
      return map1(n, a, y, [](float x) { return x != x ? x : (x > 0 ? 1.0F : (x < 0 ? -1.0F : 0.0F)); });
    case PointwiseOp::erf: return map1(n, a, y, [](float x) { return erf_f32(x); });
    case PointwiseOp::relu: return map1(n, a, y, [](float x) { return x < 0 ? 0.0F : x; });
    case PointwiseOp::leaky_relu: return map1(n, a, y, [alpha](float x) { return x < 0 ? alpha * x : x; });
    case PointwiseOp::elu: return map1(n, a, y, [alpha](float x) { return x < 0 ? alpha * (exp_f32(x) - 1.0F) : x; });
    case PointwiseOp::celu:
      return map1(n, a, y, [alpha](float x) { return x < 0 ? alpha * (exp_f32(x / alpha) - 1.0F) : x; });
    case PointwiseOp::selu:
      return map1(n, a, y, [alpha, beta](float x) { return beta * (x < 0 ? alpha * (exp_f32(x) - 1.0F) : x); });
    case PointwiseOp::sigmoid: return map1(n, a, y, [](float x) { return sigmoid_f32(x); });
    case PointwiseOp::tanh: return map1(n, a, y, [](float x) { return tanh_f32(x); });
    case PointwiseOp::softplus: return map1(n, a, y, [](float x) { return softplus_f32(x); });
    case PointwiseOp::swish: return map1(n, a, y, [alpha](float x) { return x * sigmoid_f32(alpha * x); });
    case PointwiseOp::hard_sigmoid:
      return map1(n, a, y, [alpha, beta](float x) { return nan_max(0.0F, nan_min(1.0F, alpha * x + beta)); });
    case PointwiseOp::hard_swish:
      return map1(n, a, y, [](float x) { return x * nan_max(0.0F, nan_min(1.0F, x * (1.0F / 6.0F) + 0.5F)); });
    case PointwiseOp::gelu: return map1(n, a, y, [](float x) { return gelu_f32(x); });
    case PointwiseOp::gelu_tanh:
      return map1(n, a, y, [](float x) { return x * sigmoid_f32(1.5957691F * (x + 0.044715F * x * x * x)); });
    case PointwiseOp::mish: return map1(n, a, y, [](float x) { return x * tanh_f32(softplus_f32(x)); });
    case PointwiseOp::softsign: return map1(n, a, y, [](float x) { return x / (1.0F + __builtin_fabsf(x)); });
    case PointwiseOp::logical_not: return map1(n, a, y, [](float x) { return truth(x == 0); });
    case PointwiseOp::clip:
      return map1(n, a, y, [alpha, beta](float x) {
        const float low = x < alpha ? alpha : x;
        return low > beta ? beta : low;
      });
    case PointwiseOp::dequantize: return map1(n, a, y, [alpha, beta](float x) { return (x - beta) * alpha; });
    case PointwiseOp::quantize_i8:
      return map1(n, a, y, [alpha, beta](float x) { return quantize(x, alpha, beta, -128.0F, 127.0F); });
    case PointwiseOp::quantize_u8:
      return map1(n, a, y, [alpha, beta](float x) { return quantize(x, alpha, beta, 0.0F, 255.0F); });
    case PointwiseOp::add: return map2(n, a, b, y, [](float x, float z) { return x + z; });
    case PointwiseOp::sub: return map2(n, a, b, y, [](float x, float z) { return x - z; });
    case PointwiseOp::mul: return map2(n, a, b, y, [](float x, float z) { return x * z; });
    case PointwiseOp::div: return map2(n, a, b, y, [](float x, float z) { return x / z; });
    case PointwiseOp::max: return map2(n, a, b, y, [](float x, float z) { return nan_max(x, z); });
    case PointwiseOp::min: return map2(n, a, b, y, [](float x, float z) { return nan_min(x, z); });
    case PointwiseOp::pow:
      for (int64_t i = 0; i < n; ++i) y[i] = __builtin_powf(a[i], b[i]);
      return;
    case PointwiseOp::prelu: return map2(n, a, b, y, [](float x, float z) { return x < 0 ? x * z : x; });
    case PointwiseOp::equal: return map2(n, a, b, y, [](float x, float z) { return truth(x == z); });
    case PointwiseOp::greater: return map2(n, a, b, y, [](float x, float z) { return truth(x > z); });
    case PointwiseOp::greater_or_equal: return map2(n, a, b, y, [](float x, float z) { return truth(x >= z); });
    case PointwiseOp::less: return map2(n, a, b, y, [](float x, float z) { return truth(x < z); });
    case PointwiseOp::less_or_equal: return map2(n, a, b, y, [](float x, float z) { return truth(x <= z); });
    case PointwiseOp::logical_and: return map2(n, a, b, y, [](float x, float z) { return truth(x != 0 && z != 0); });
    case PointwiseOp::logical_or: return map2(n, a, b, y, [](float x, float z) { return truth(x != 0 || z != 0); });
    case PointwiseOp::logical_xor:
      return map2(n, a, b, y, [](float x, float z) { return truth((x != 0) != (z != 0)); });
    case PointwiseOp::select:
      for (int64_t i = 0; i < n; ++i) y[i] = a[i] != 0 ? b[i] : y[i];
      return;
  }
}

}  // namespace
}  // namespace planish::kernels
