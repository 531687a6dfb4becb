#pragma once

// The loops behind every instruction set, over the vector types of base/simd; included by one file per instruction set
// and nothing else.

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/kernels/cpu/grouped_error/grouped_error.h"

namespace planish::kernels {
namespace {

/// One output of V vectors of groups, `left` of them in the last one.
template <typename S, int V>
PLANISH_INLINE void error_of_output(const float* x, const float* w, int64_t k, int64_t groups, int left,
                                    const StepRange& steps, float* sums, float* squares) {
  using F = typename S::F;
  // Adding 1.5 * 2^23 leaves no bits behind the point, as Steps::nearest() does.
  const F no_fraction = S::set1(12582912.0F);
  const F minus = S::set1(-12582912.0F);
  const F scale = S::set1(steps.scale);
  const F low = S::set1(steps.low);
  const F high = S::set1(steps.high);
  const auto load = [&](const float* from, int v) __attribute__((always_inline)) {
    return v + 1 < V || left == S::kLanes ? S::load(from + v * S::kLanes) : S::load(from + v * S::kLanes, left);
  };
  F error[V];
  for (int v = 0; v < V; ++v) error[v] = S::set1(0.0F);
  for (int64_t c = 0; c < k; ++c)
    for (int v = 0; v < V; ++v) {
      const F value = load(x + c * groups, v);
      const F whole = S::add(S::add(S::clamp(S::div(value, scale), low, high), no_fraction), minus);
      const F lost = S::fma(value, S::set1(-1.0F), S::mul(whole, scale));
      error[v] = S::fma(lost, load(w + c * groups, v), error[v]);
    }
  for (int v = 0; v < V; ++v) {
    const int n = v + 1 < V ? S::kLanes : left;
    float* const sum = sums + v * S::kLanes;
    float* const square = squares + v * S::kLanes;
    S::store(sum, S::add(load(sums, v), error[v]), n);
    S::store(square, S::fma(error[v], error[v], load(squares, v)), n);
  }
}

template <typename S>
void grouped_error_generic(const GroupedRow& row, const StepRange& steps, float* sums, float* squares, int64_t stride) {
  constexpr int64_t kMost = 4 * S::kLanes;
  for (int64_t m = 0; m < row.m; ++m)
    for (int64_t g = 0; g < row.count; g += kMost) {
      const int64_t n = row.count - g < kMost ? row.count - g : kMost;
      const auto vectors = static_cast<int>((n + S::kLanes - 1) / S::kLanes);
      const int left = static_cast<int>(n) - (vectors - 1) * S::kLanes;
      const float* const x = row.x + g;
      const float* const w = row.w + m * row.k * row.groups + g;
      float* const sum = sums + m * stride + g;
      float* const square = squares + m * stride + g;
      switch (vectors) {
        case 1: error_of_output<S, 1>(x, w, row.k, row.groups, left, steps, sum, square); break;
        case 2: error_of_output<S, 2>(x, w, row.k, row.groups, left, steps, sum, square); break;
        case 3: error_of_output<S, 3>(x, w, row.k, row.groups, left, steps, sum, square); break;
        default: error_of_output<S, 4>(x, w, row.k, row.groups, left, steps, sum, square); break;
      }
    }
}

}  // namespace
}  // namespace planish::kernels
