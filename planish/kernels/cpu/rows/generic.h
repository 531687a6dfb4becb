#pragma once

// The loops behind every instruction set; included by one file per instruction set and nothing else. W lanes of
// partial results make the reductions vectorisable without reordering beyond what is written here.

#include <bit>
#include <cstdint>

#include "planish/base/macros.h"
#include "planish/kernels/cpu/rows/rows.h"

namespace planish::kernels {
namespace {

template <int W>
struct Rows {
  static constexpr int kLanes = 2 * W;  // two vectors in flight hide the latency of the additions

  template <typename F>
  PLANISH_INLINE static float reduce(int64_t n, const float* x, F f) {
    float lanes[kLanes] = {};
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
      for (int l = 0; l < kLanes; ++l) lanes[l] += f(x[i + l]);
    float tail = 0;
    for (; i < n; ++i) tail += f(x[i]);
    for (int step = kLanes / 2; step > 0; step /= 2)
      for (int l = 0; l < step; ++l) lanes[l] += lanes[l + step];
    return lanes[0] + tail;
  }

  PLANISH_INLINE static float max_of(int64_t n, const float* x) {
    float lanes[kLanes];
    for (int l = 0; l < kLanes; ++l) lanes[l] = -__builtin_inff();
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
      for (int l = 0; l < kLanes; ++l) lanes[l] = lanes[l] < x[i + l] ? x[i + l] : lanes[l];
    float best = -__builtin_inff();
    for (; i < n; ++i) best = best < x[i] ? x[i] : best;
    for (int l = 0; l < kLanes; ++l) best = best < lanes[l] ? lanes[l] : best;
    return best;
  }

  /// The operand that `better` prefers; NaN wins.
  template <typename Better>
  PLANISH_INLINE static float best_of(int64_t n, const float* x, float start, Better better) {
    const auto pick = [&](float a, float b) { return better(a, b) || a != a ? a : b; };
    float lanes[kLanes];
    for (int l = 0; l < kLanes; ++l) lanes[l] = start;
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
      for (int l = 0; l < kLanes; ++l) lanes[l] = pick(lanes[l], x[i + l]);
    float best = start;
    for (; i < n; ++i) best = pick(best, x[i]);
    for (int l = 0; l < kLanes; ++l) best = pick(best, lanes[l]);
    return best;
  }

  static float max(int64_t n, const float* x) {
    return best_of(n, x, -__builtin_inff(), [](float a, float b) { return a > b; });
  }

  static float min(int64_t n, const float* x) {
    return best_of(n, x, __builtin_inff(), [](float a, float b) { return a < b; });
  }

  static float squares(int64_t n, const float* x, float mean) {
    return reduce(n, x, [mean](float v) { return (v - mean) * (v - mean); });
  }

  static void affine(int64_t n, const float* x, float center, float scale, float shift, float* y) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - center) * scale + shift;
  }

  static float sum(int64_t n, const float* x) {
    return reduce(n, x, [](float v) { return v; });
  }

  static void layer_norm(int64_t n, const float* x, const float* scale, const float* bias, float epsilon, float* y) {
    const float mean = sum(n, x) / static_cast<float>(n);
    const float variance = reduce(n, x, [mean](float v) { return (v - mean) * (v - mean); }) / static_cast<float>(n);
    const float inverse = 1.0F / __builtin_sqrtf(variance + epsilon);
    if (bias != nullptr) {
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - mean) * inverse * scale[i] + bias[i];
    } else {
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - mean) * inverse * scale[i];
    }
  }

  static void rms_norm(int64_t n, const float* x, const float* scale, float epsilon, float* y) {
    const float square = reduce(n, x, [](float v) { return v * v; }) / static_cast<float>(n);
    const float inverse = 1.0F / __builtin_sqrtf(square + epsilon);
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] * inverse * scale[i];
  }

  /// e^x for x <= 0, relative error below 3e-7; 0 where the result is not a normal number, NaN for NaN. Shorter than
  /// simd::exp_f32, because nothing overflows: r = x - k ln 2, the polynomial of least relative error (8e-8) for e^r,
  /// and 2^k in the exponent.
  PLANISH_INLINE static float exp_of_negative(float x) {
    constexpr float kLeast = -87.0F;
    const float clamped = x < kLeast ? kLeast : x;
    const float k = __builtin_rintf(clamped * 1.44269504F);
    // ln 2 in two parts (Cody and Waite), so that k ln 2 is subtracted almost exactly.
    const float r = (clamped - k * 0.693359375F) + k * 2.12194440e-4F;
    float p = 0.00829761941F;
    p = p * r + 0.0419156291F;
    p = p * r + 0.166675761F;
    p = p * r + 0.499988914F;
    p = p * r + 0.999999702F;
    p = p * r + 1.00000012F;
    const float power = std::bit_cast<float>((static_cast<int32_t>(k) + 127) << 23);
    return x < kLeast ? 0.0F : p * power;
  }

  static void softmax(int64_t n, const float* x, float* y) {
    const float top = max_of(n, x);
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) y[i] = exp_of_negative(x[i] - top);
    const float inverse = 1.0F / sum(n, y);
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) y[i] *= inverse;
  }

  static void softmax_columns(int64_t n, int64_t columns, int64_t stride, const float* x, float* y) {
    float top[kMaxColumns];
    float total[kMaxColumns] = {};
    for (int64_t c = 0; c < columns; ++c) top[c] = x[c];
    for (int64_t i = 1; i < n; ++i)
      for (int64_t c = 0; c < columns; ++c) top[c] = top[c] < x[i * stride + c] ? x[i * stride + c] : top[c];
    for (int64_t i = 0; i < n; ++i)
#pragma GCC ivdep
      for (int64_t c = 0; c < columns; ++c) {
        const float e = exp_of_negative(x[i * stride + c] - top[c]);
        y[i * stride + c] = e;
        total[c] += e;
      }
    for (int64_t c = 0; c < columns; ++c) total[c] = 1.0F / total[c];
    for (int64_t i = 0; i < n; ++i)
#pragma GCC ivdep
      for (int64_t c = 0; c < columns; ++c) y[i * stride + c] *= total[c];
  }
};

template <int W>
constexpr RowKernels row_kernels_of(std::string_view name, Isa isa) {
  using R = Rows<W>;
  return {name,   isa,    R::layer_norm, R::rms_norm, R::softmax, R::softmax_columns,
          R::sum, R::max, R::min,        R::squares,  R::affine};
}

}  // namespace
}  // namespace planish::kernels
