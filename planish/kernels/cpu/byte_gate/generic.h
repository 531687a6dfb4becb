#pragma once

// The loops behind every instruction set, over the vector types of base/simd; included by one file per instruction set
// and nothing else.

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/kernels/cpu/byte_gate/byte_gate.h"

namespace planish::kernels {
namespace {

template <typename S, typename X>
PLANISH_INLINE void byte_gate_rows(const ByteGate& g, int64_t rows, const X* x, const float* factors, uint8_t* y) {
  using F = typename S::F;
  constexpr int kLanes = S::kLanes;
  constexpr int64_t kStep = int64_t{S::kRow} * kLanes;
  const int64_t channels = g.channels;
  const F minus_zero = S::set1(-g.x_zero);
  const F low = S::set1(g.low);
  const F high = S::set1(g.high);
  const int32_t zero = g.zero;
  const bool y_signed = g.y_signed;
  for (int64_t r = 0; r < rows; ++r, x += channels, y += channels) {
    int64_t c = 0;
    for (; c + kStep <= channels; c += kStep) {
      F v[S::kRow];
      for (int k = 0; k < S::kRow; ++k) {
        const int64_t at = c + k * kLanes;
        v[k] = S::clamp(S::mul(S::add(S::load(x + at), minus_zero), S::load(factors + at)), low, high);
      }
      S::store_row(y + c, v, zero, y_signed);
    }
    for (; c < channels; c += kLanes) {
      const int left = channels - c < kLanes ? static_cast<int>(channels - c) : kLanes;
      const F v = S::mul(S::add(S::load(x + c, left), minus_zero), S::load(factors + c, left));
      S::store_bytes(y + c, S::clamp(v, low, high), zero, left);
    }
  }
}

template <typename S>
void byte_gate_generic(const ByteGate& g, int64_t rows, const void* x, const float* factors, uint8_t* y) {
  const ByteGate own = g;  // nothing that is written to y can change it
  if (own.x_signed) return byte_gate_rows<S>(own, rows, static_cast<const int8_t*>(x), factors, y);
  byte_gate_rows<S>(own, rows, static_cast<const uint8_t*>(x), factors, y);
}

}  // namespace
}  // namespace planish::kernels
