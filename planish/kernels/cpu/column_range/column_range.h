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

struct ColumnRangeKernel {
  std::string_view name;
  Isa isa = Isa::baseline;
  ColumnRangeFn fn = nullptr;
};

/// Fastest first; the last row runs everywhere.
std::span<const ColumnRangeKernel> column_range_kernels();
/// The first row that this machine can run.
const ColumnRangeKernel& best_column_range_kernel();

}  // namespace planish::kernels
