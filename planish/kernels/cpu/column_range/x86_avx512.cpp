#include "planish/base/simd/x86_avx512.h"
#include "planish/kernels/cpu/column_range/generic.h"
#include "planish/kernels/cpu/column_range/variants.h"

namespace planish::kernels {

void column_range_avx512(const float* x, int64_t rows, int64_t stride, int64_t columns, const ColumnRange& range) {
  column_range_generic<simd::Avx512Floats>(x, rows, stride, columns, range);
}

void column_range_parts_avx512(const float* const* x, const int64_t* rows, int64_t stride, int64_t columns,
                               const ColumnRange& range) {
  column_range_parts_generic<simd::Avx512Floats>(x, rows, stride, columns, range);
}

}  // namespace planish::kernels
