#pragma once

#include "planish/kernels/cpu/byte_column_sums/byte_column_sums.h"

namespace planish::kernels {

void byte_column_sums_avx2(int64_t rows, int64_t columns, int64_t row_stride, const uint8_t* x, bool is_signed,
                           int32_t* sums);
void byte_column_sums_avx512(int64_t rows, int64_t columns, int64_t row_stride, const uint8_t* x, bool is_signed,
                             int32_t* sums);

}  // namespace planish::kernels
