#include <immintrin.h>

#include "planish/base/simd/x86_avx512.h"
#include "planish/kernels/cpu/byte_average_pool/generic.h"
#include "planish/kernels/cpu/byte_average_pool/variants.h"

namespace planish::kernels {
namespace {

struct Avx512Sums {
  static constexpr int kLanes = 32;
  static constexpr int kFloats = 2;
  using V = __m512i;
  PLANISH_INLINE static V zero() { return _mm512_setzero_si512(); }
  PLANISH_INLINE static V load(const uint8_t* p) { return _mm512_cvtepu8_epi16(bytes(p)); }
  PLANISH_INLINE static V load(const int8_t* p) { return _mm512_cvtepi8_epi16(bytes(p)); }
  PLANISH_INLINE static V add(V a, V b) { return _mm512_add_epi16(a, b); }
  PLANISH_INLINE static void floats(V x, __m512* y) {
    y[0] = floats(_mm512_maskz_extracti64x4_epi64(0xf, x, 0));
    y[1] = floats(_mm512_maskz_extracti64x4_epi64(0xf, x, 1));
  }

 private:
  // The zeroing forms: g++ warns about the values that the others leave undefined.
  PLANISH_INLINE static __m512 floats(__m256i x) {
    return _mm512_maskz_cvtepi32_ps(0xffff, _mm512_maskz_cvtepi16_epi32(0xffff, x));
  }
  PLANISH_INLINE static __m256i bytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
};

}  // namespace

void byte_average_pool_avx512(const ByteAveragePool& p, const void* x, void* y, int64_t line_begin, int64_t line_end) {
  byte_average_pool_generic<simd::Avx512Floats, Avx512Sums>(p, x, y, line_begin, line_end);
}

}  // namespace planish::kernels
