#include <immintrin.h>

#include "planish/kernels/cpu/convert/generic.h"
#include "planish/kernels/cpu/convert/variants.h"

namespace planish::kernels {
namespace {

constexpr int64_t kWidth = 16;
// The unmasked intrinsics start from an undefined register, which g++ 12 warns about.
constexpr __mmask16 kAll = 0xffff;

__mmask16 tail_mask(int64_t left) { return static_cast<__mmask16>((1U << left) - 1U); }

void widen_f16(int64_t n, const uint16_t* x, float* y) {
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth)
    _mm512_storeu_ps(y + i, _mm512_maskz_cvtph_ps(kAll, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i))));
  if (i == n) return;
  const __mmask16 mask = tail_mask(n - i);
  _mm512_mask_storeu_ps(y + i, mask, _mm512_maskz_cvtph_ps(kAll, _mm256_maskz_loadu_epi16(mask, x + i)));
}

void narrow_f16(int64_t n, const float* x, uint16_t* y) {
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + i),
                        _mm512_maskz_cvtps_ph(kAll, _mm512_loadu_ps(x + i), kNearest));
  if (i == n) return;
  const __mmask16 mask = tail_mask(n - i);
  _mm256_mask_storeu_epi16(y + i, mask, _mm512_maskz_cvtps_ph(kAll, _mm512_maskz_loadu_ps(mask, x + i), kNearest));
}

void widen_i8(int64_t n, const int8_t* x, float* y) {
  for (int64_t i = 0; i < n; i += kWidth) {
    const __mmask16 mask = n - i < kWidth ? tail_mask(n - i) : kAll;
    const __m512i wide = _mm512_maskz_cvtepi8_epi32(kAll, _mm_maskz_loadu_epi8(mask, x + i));
    _mm512_mask_storeu_ps(y + i, mask, _mm512_maskz_cvtepi32_ps(kAll, wide));
  }
}

void widen_u8(int64_t n, const uint8_t* x, float* y) {
  for (int64_t i = 0; i < n; i += kWidth) {
    const __mmask16 mask = n - i < kWidth ? tail_mask(n - i) : kAll;
    const __m512i wide = _mm512_maskz_cvtepu8_epi32(kAll, _mm_maskz_loadu_epi8(mask, x + i));
    _mm512_mask_storeu_ps(y + i, mask, _mm512_maskz_cvtepi32_ps(kAll, wide));
  }
}

// Whole numbers of either range have the same low byte.
template <typename T>
void narrow(int64_t n, const float* x, T* y) {
  for (int64_t i = 0; i < n; i += kWidth) {
    const __mmask16 mask = n - i < kWidth ? tail_mask(n - i) : kAll;
    const __m512i wide = _mm512_maskz_cvtps_epi32(kAll, _mm512_maskz_loadu_ps(mask, x + i));
    _mm_mask_storeu_epi8(y + i, mask, _mm512_maskz_cvtepi32_epi8(kAll, wide));
  }
}

}  // namespace

constinit const ConvertKernels kConvertAvx512{"convert_avx512", Isa::avx512,    widen_f16, narrow_f16,
                                              widen_bf16,       narrow_bf16,    widen_i8,  widen_u8,
                                              narrow<int8_t>,   narrow<uint8_t>};

}  // namespace planish::kernels
