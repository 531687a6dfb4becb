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

}  // namespace
}  // namespace planish::kernels
