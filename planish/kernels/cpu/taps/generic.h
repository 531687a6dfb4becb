#pragma once

// Included by one file per instruction set and nothing else; S is the vector type of base/simd.

#include <cstdint>

#include "planish/base/macros.h"

namespace planish::kernels {
namespace {

template <typename S>
PLANISH_INLINE void taps_generic(int64_t n, int64_t taps, int64_t stride, const int32_t* index, const float* weight,
                                 const float* x, bool accumulate, float* y) {
  for (int64_t i = 0; i < n; i += S::kLanes) {
    const int lanes = n - i < S::kLanes ? static_cast<int>(n - i) : S::kLanes;
    auto sum = accumulate ? S::load(y + i, lanes) : S::set1(0.0F);
    for (int64_t t = 0; t < taps; ++t)
      sum = S::fma(S::load(weight + t * stride + i, lanes), S::gather(x, index + t * stride + i, lanes), sum);
    S::store(y + i, sum, lanes);
  }
}

}  // namespace
}  // namespace planish::kernels
