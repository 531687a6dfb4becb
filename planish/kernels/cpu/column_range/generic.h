#pragma once

// The loops behind every instruction set, over the vector types of base/simd; included by one file per instruction set
// and nothing else.

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/kernels/cpu/column_range/column_range.h"

namespace planish::kernels {
namespace {

/// V vectors of neighbouring columns, `left` of them in the last one. Side by side, because each waits for its own sum.
template <typename S, int V>
PLANISH_INLINE void range_of_vectors(const float* x, int64_t rows, int64_t stride, int left, const ColumnRange& range) {
  using F = typename S::F;
  F low[V];
  F high[V];
  F total[V];
  const auto load = [&](const float* row, int v) __attribute__((always_inline)) {
    return v + 1 < V || left == S::kLanes ? S::load(row + v * S::kLanes) : S::load(row + v * S::kLanes, left);
  };
  for (int v = 0; v < V; ++v) low[v] = high[v] = total[v] = load(x, v);
  for (int64_t r = 1; r < rows; ++r) {
    const float* const row = x + r * stride;
    for (int v = 0; v < V; ++v) {
      const F values = load(row, v);
      low[v] = S::min(values, low[v]);
      high[v] = S::max(values, high[v]);
      total[v] = S::add(total[v], values);
    }
  }
  for (int v = 0; v < V; ++v) {
    const int n = v + 1 < V ? S::kLanes : left;
    S::store(range.low + v * S::kLanes, low[v], n);
    S::store(range.high + v * S::kLanes, high[v], n);
    S::store(range.total + v * S::kLanes, total[v], n);
  }
}

template <typename S>
void column_range_generic(const float* x, int64_t rows, int64_t stride, int64_t columns, const ColumnRange& range) {
  constexpr int64_t kMost = 4 * S::kLanes;
  for (int64_t c = 0; c < columns; c += kMost) {
    const int64_t n = columns - c < kMost ? columns - c : kMost;
    const auto vectors = static_cast<int>((n + S::kLanes - 1) / S::kLanes);
    const int left = static_cast<int>(n) - (vectors - 1) * S::kLanes;
    const ColumnRange here{range.low + c, range.high + c, range.total + c};
    switch (vectors) {
      case 1: range_of_vectors<S, 1>(x + c, rows, stride, left, here); break;
      case 2: range_of_vectors<S, 2>(x + c, rows, stride, left, here); break;
      case 3: range_of_vectors<S, 3>(x + c, rows, stride, left, here); break;
      default: range_of_vectors<S, 4>(x + c, rows, stride, left, here); break;
    }
  }
}

/// One vector of neighbouring columns, or the first `n` of it.
template <typename S, bool kWhole>
PLANISH_INLINE void range_of_parts(const float* const* x, const int64_t* rows, int64_t stride, int64_t c, int n,
                                   int64_t columns, const ColumnRange& range) {
  using F = typename S::F;
  const auto load = [&](const float* row) __attribute__((always_inline)) {
    return kWhole ? S::load(row) : S::load(row, n);
  };
  F low[kRangeParts];
  F high[kRangeParts];
  F total[kRangeParts];
  int64_t fewest = rows[0];
  for (int p = 0; p < kRangeParts; ++p) {
    low[p] = high[p] = total[p] = load(x[p] + c);
    fewest = rows[p] < fewest ? rows[p] : fewest;
  }
  const auto add = [&](int p, int64_t r) __attribute__((always_inline)) {
    const F values = load(x[p] + r * stride + c);
    low[p] = S::min(values, low[p]);
    high[p] = S::max(values, high[p]);
    total[p] = S::add(total[p], values);
  };
  for (int64_t r = 1; r < fewest; ++r)
    for (int p = 0; p < kRangeParts; ++p) add(p, r);
  for (int p = 0; p < kRangeParts; ++p) {
    for (int64_t r = fewest; r < rows[p]; ++r) add(p, r);
    S::store(range.low + p * columns + c, low[p], n);
    S::store(range.high + p * columns + c, high[p], n);
    S::store(range.total + p * columns + c, total[p], n);
  }
}

template <typename S>
void column_range_parts_generic(const float* const* x, const int64_t* rows, int64_t stride, int64_t columns,
                                const ColumnRange& range) {
  int64_t c = 0;
  for (; c + S::kLanes <= columns; c += S::kLanes)
    range_of_parts<S, true>(x, rows, stride, c, S::kLanes, columns, range);
  if (c < columns) range_of_parts<S, false>(x, rows, stride, c, static_cast<int>(columns - c), columns, range);
}

}  // namespace
}  // namespace planish::kernels
