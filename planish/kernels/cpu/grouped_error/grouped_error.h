#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"

namespace planish::kernels {

/// Neighbouring groups of one row of what a product in groups reads, with their weights.
struct GroupedRow {
  const float* x = nullptr;  ///< K values, `groups` apart
  const float* w = nullptr;  ///< [M, K], `groups` apart
  int64_t k = 0;
  int64_t m = 0;  ///< outputs of a group
  int64_t groups = 0;
  int64_t count = 0;  ///< groups that are looked at
};

/// Steps of a quantiser: x becomes the nearest whole number of `scale`s from `low` to `high`.
struct StepRange {
  float scale = 1;
  float low = 0;
  float high = 0;
};

/// Adds what rounding does to the results of the row, and its square, to `sums` and `squares`, [M, count], `stride`
/// from one output to the next.
using GroupedErrorFn = void (*)(const GroupedRow& row, const StepRange& steps, float* sums, float* squares,
                                int64_t stride);

struct GroupedErrorKernel {
  std::string_view name;
  Isa isa = Isa::baseline;
  GroupedErrorFn fn = nullptr;
};

/// Fastest first; the last row runs everywhere.
std::span<const GroupedErrorKernel> grouped_error_kernels();
/// The first row that this machine can run.
const GroupedErrorKernel& best_grouped_error_kernel();

}  // namespace planish::kernels
