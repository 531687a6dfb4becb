#include "planish/base/simd/x86_avx2.h"
#include "planish/kernels/cpu/quantize/generic.h"
#include "planish/kernels/cpu/quantize/variants.h"

namespace planish::kernels {

void quantize_avx2(const Quantization& q, int64_t n, const float* x, uint8_t* y) {
  quantize_generic<simd::Avx2Floats>(q, n, x, y);
}

}  // namespace planish::kernels
