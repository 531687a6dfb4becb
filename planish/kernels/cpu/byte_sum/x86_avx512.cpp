#include "planish/base/simd/x86_avx512.h"
#include "planish/kernels/cpu/byte_sum/generic.h"
#include "planish/kernels/cpu/byte_sum/variants.h"

namespace planish::kernels {

void byte_sum_avx512(const ByteSum& sum, int64_t n, const void* a, const void* b, uint8_t* y) {
  byte_sum_generic<simd::Avx512Floats>(sum, n, a, b, y);
}

}  // namespace planish::kernels
