#include "planish/kernels/cpu/byte_column_sums/generic.h"
#include "planish/kernels/cpu/byte_column_sums/variants.h"

namespace planish::kernels {

void byte_column_sums_avx512(int64_t rows, int64_t columns, int64_t row_stride, const uint8_t* x, bool is_signed,
                             int32_t* sums) {
  byte_column_sums_generic(rows, columns, row_stride, x, is_signed, sums);
}

}  // namespace planish::kernels
