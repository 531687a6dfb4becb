#include "planish/base/simd/x86_avx2.h"

#include "planish/kernels/cpu/taps/generic.h"
#include "planish/kernels/cpu/taps/variants.h"

namespace planish::kernels {

void taps_avx2(int64_t n, int64_t taps, int64_t stride, const int32_t* index, const float* weight, const float* x,
               bool accumulate, float* y) {
  taps_generic<simd::Avx2Floats>(n, taps, stride, index, weight, x, accumulate, y);
}

}  // namespace planish::kernels
