#include <immintrin.h>

#include "planish/kernels/cpu/convert/generic.h"
#include "planish/kernels/cpu/convert/variants.h"

namespace planish::kernels {
namespace {

constexpr int64_t kWidth = 8;

void widen_f16(int64_t n, const uint16_t* x, float* y) {
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth)
    _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i))));
  for (; i < n; ++i) y[i] = _cvtsh_ss(x[i]);
}

void narrow_f16(int64_t n, const float* x, uint16_t* y) {
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), kNearest));
  for (; i < n; ++i) y[i] = _cvtss_sh(x[i], kNearest);
}

}  // namespace

constinit const ConvertKernels kConvertAvx2{
    "convert_avx2", Isa::avx2,          widen_f16,           narrow_f16,          widen_bf16,
    narrow_bf16,    widen_byte<int8_t>, widen_byte<uint8_t>, narrow_byte<int8_t>, narrow_byte<uint8_t>};

}  // namespace planish::kernels
