#pragma once

#include "planish/kernels/cpu/column_range/column_range.h"

namespace planish::kernels {

void column_range_avx2(const float* x, int64_t rows, int64_t stride, int64_t columns, const ColumnRange& range);
void column_range_avx512(const float* x, int64_t rows, int64_t stride, int64_t columns, const ColumnRange& range);
void column_range_parts_avx2(const float* const* x, const int64_t* rows, int64_t stride, int64_t columns,
                             const ColumnRange& range);
void column_range_parts_avx512(const float* const* x, const int64_t* rows, int64_t stride, int64_t columns,
                               const ColumnRange& range);

}  // namespace planish::kernels
