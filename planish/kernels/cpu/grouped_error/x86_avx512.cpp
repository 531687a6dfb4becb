#include "planish/base/simd/x86_avx512.h"
#include "planish/kernels/cpu/grouped_error/generic.h"
#include "planish/kernels/cpu/grouped_error/variants.h"

namespace planish::kernels {

void grouped_error_avx512(const GroupedRow& row, const StepRange& steps, float* sums, float* squares, int64_t stride) {
  grouped_error_generic<simd::Avx512Floats>(row, steps, sums, squares, stride);
}

}  // namespace planish::kernels
