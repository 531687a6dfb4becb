#pragma once

#include <cstdint>

#include "planish/kernels/cpu/weight_only/weight_only.h"

namespace planish::kernels {

/// Most rows of weights between two visits to the totals, so that their part of A and of a group of panels stays in the
/// first-level cache.
inline constexpr int64_t kWeightOnlySegment = 256;

/// How weight_only_rows() lays out a row of A: k numbers padded to a multiple of 8, then minus the sum of each segment
/// (zeros where nothing is subtracted).
struct WeightOnlyRowLayout {
  int64_t sums = 0;
  int64_t floats = 0;
};

inline int64_t weight_only_segments(const WeightOnlyShape& s) {
  const auto of = [](int64_t rows) { return (rows + kWeightOnlySegment - 1) / kWeightOnlySegment; };
  const int64_t whole = s.k / s.block;
  return whole * of(s.block) + of(s.k - whole * s.block);
}

inline WeightOnlyRowLayout weight_only_row_layout(const WeightOnlyShape& s) {
  const int64_t sums = (s.k + 7) / 8 * 8;
  return {sums, (sums + weight_only_segments(s) + 15) / 16 * 16};
}

}  // namespace planish::kernels
