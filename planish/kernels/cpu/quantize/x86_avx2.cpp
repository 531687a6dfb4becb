#include "planish/base/simd/x86_avx2.h"
#include "planish/kernels/cpu/quantize/generic.h"
#include "planish/kernels/cpu/quantize/variants.h"
#include "planish/kernels/cpu/quantize/x86_interleave.h"

namespace planish::kernels {

void quantize_avx2(const Quantization& q, int64_t n, const float* x, uint8_t* y) {
  quantize_generic<simd::Avx2Floats>(q, n, x, y);
}

void quantize_pixels_avx2(const Quantization& q, int64_t n, const float* x, int64_t plane, uint8_t* y) {
  quantize_pixels_generic<simd::Avx2Floats, X86Interleave>(q, n, x, plane, y);
}

}  // namespace planish::kernels
