#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"

namespace planish::kernels {

/// Where the smallest, the largest and the summed value of each column go. A sum that is not finite says that one of
/// the values is not, and that the other two numbers mean nothing.
struct ColumnRange {
  float* low = nullptr;
  float* high = nullptr;
  float* total = nullptr;
};

/// Looks at `rows` (at least one) rows of `columns` neighbours, `stride` values apart.
using ColumnRangeFn = void (*)(const float* x, int64_t rows, int64_t stride, int64_t columns, const ColumnRange& range);

/// Places that are looked at together: with few columns, each row would wait for the sum of the one before it.
inline constexpr int kRangeParts = 4;
/// The same at kRangeParts places, with `rows[p]` rows (at least one) from `x[p]` on. The numbers of place p lie behind
/// those of the places before it.
using ColumnRangePartsFn = void (*)(const float* const* x, const int64_t* rows, int64_t stride, int64_t columns,
                                    const ColumnRange& range);

struct ColumnRangeKernel {
  std::string_view name;
  Isa isa = Isa::baseline;
  ColumnRangeFn fn = nullptr;
  ColumnRangePartsFn parts = nullptr;  ///< gives the same numbers
};

/// Fastest first; the last row runs everywhere.
std::span<const ColumnRangeKernel> column_range_kernels();
/// The first row that this machine can run.
const ColumnRangeKernel& best_column_range_kernel();

}  // namespace planish::kernels
