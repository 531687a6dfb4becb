#pragma once

// The loops behind every instruction set, over the vector types of base/simd; included by one file per instruction set
// and nothing else.

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/kernels/cpu/byte_sum/byte_sum.h"

namespace planish::kernels {
namespace {

template <typename S, typename A, typename B>
PLANISH_INLINE void byte_sum_loop(const ByteSum& s, int64_t n, const A* a, const B* b, uint8_t* y) {
  using F = typename S::F;
  constexpr int kLanes = S::kLanes;
  constexpr int64_t kStep = int64_t{S::kRow} * kLanes;
  const F a_factor = S::set1(s.a_factor);
  const F b_factor = S::set1(s.b_factor);
  const F offset = S::set1(s.offset);
  const F low = S::set1(s.low);
  const F high = S::set1(s.high);
  int64_t i = 0;
  for (; i + kStep <= n; i += kStep) {
    F v[S::kRow];
    for (int k = 0; k < S::kRow; ++k) {
      const int64_t at = i + k * kLanes;
      v[k] = S::clamp(S::fma(S::load(a + at), a_factor, S::fma(S::load(b + at), b_factor, offset)), low, high);
    }
    S::store_row(y + i, v, s.zero, s.y_signed);
  }
  for (; i < n; i += kLanes) {
    const int left = n - i < kLanes ? static_cast<int>(n - i) : kLanes;
    const F v = S::fma(S::load(a + i, left), a_factor, S::fma(S::load(b + i, left), b_factor, offset));
    S::store_bytes(y + i, S::clamp(v, low, high), s.zero, left);
  }
}

template <typename S>
void byte_sum_generic(const ByteSum& s, int64_t n, const void* a, const void* b, uint8_t* y) {
  const auto* ai = static_cast<const int8_t*>(a);
  const auto* au = static_cast<const uint8_t*>(a);
  const auto* bi = static_cast<const int8_t*>(b);
  const auto* bu = static_cast<const uint8_t*>(b);
  if (s.a_signed && s.b_signed) return byte_sum_loop<S>(s, n, ai, bi, y);
  if (s.a_signed) return byte_sum_loop<S>(s, n, ai, bu, y);
  if (s.b_signed) return byte_sum_loop<S>(s, n, au, bi, y);
  byte_sum_loop<S>(s, n, au, bu, y);
}

}  // namespace
}  // namespace planish::kernels
