#pragma once

// The loops behind every instruction set, over the vector types of base/simd; included by one file per instruction set
// and nothing else.

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/kernels/cpu/quantize/quantize.h"

namespace planish::kernels {
namespace {

template <typename S>
void quantize_generic(const Quantization& shared, int64_t n, const float* x, uint8_t* y) {
  using F = typename S::F;
  constexpr int kLanes = S::kLanes;
  constexpr int64_t kStep = int64_t{S::kRow} * kLanes;
  const Quantization q = shared;  // nothing that is written to y can change it
  const F factor = S::set1(q.factor);
  const F low = S::set1(q.low);
  const F high = S::set1(q.high);
  int64_t i = 0;
  for (; i + kStep <= n; i += kStep) {
    F v[S::kRow];
    for (int k = 0; k < S::kRow; ++k)
      v[k] = S::clamp(S::zero_for_nan(S::mul(S::load(x + i + k * kLanes), factor)), low, high);
    S::store_row(y + i, v, q.zero, q.is_signed);
  }
  for (; i < n; i += kLanes) {
    const int left = n - i < kLanes ? static_cast<int>(n - i) : kLanes;
    S::store_bytes(y + i, S::clamp(S::zero_for_nan(S::mul(S::load(x + i, left), factor)), low, high), q.zero, left);
  }
}

/// `Interleave` has kPixels, a divisor of 64, and pixels(a, b, c, y): that many bytes of three planes, side by side.
template <typename S, typename Interleave>
void quantize_pixels_generic(const Quantization& q, int64_t n, const float* x, int64_t plane, uint8_t* y) {
  constexpr int64_t kPart = 512;
  alignas(64) uint8_t planes[3][kPart];
  for (int64_t first = 0; first < n; first += kPart) {
    const int64_t count = n - first < kPart ? n - first : kPart;
    for (int c = 0; c < 3; ++c) quantize_generic<S>(q, count, x + c * plane + first, planes[c]);
    int64_t i = 0;
    uint8_t* to = y + 3 * first;
    for (; i + Interleave::kPixels <= count; i += Interleave::kPixels)
      Interleave::pixels(planes[0] + i, planes[1] + i, planes[2] + i, to + 3 * i);
    for (; i < count; ++i)
      for (int c = 0; c < 3; ++c) to[3 * i + c] = planes[c][i];
  }
}

}  // namespace
}  // namespace planish::kernels
