#include <immintrin.h>

#include "planish/base/simd/x86_avx2.h"
#include "planish/kernels/cpu/byte_average_pool/generic.h"
#include "planish/kernels/cpu/byte_average_pool/variants.h"

namespace planish::kernels {
namespace {

struct Avx2Sums {
  static constexpr int kLanes = 16;
  static constexpr int kFloats = 2;
  using V = __m256i;
  PLANISH_INLINE static V zero() { return _mm256_setzero_si256(); }
  PLANISH_INLINE static V load(const uint8_t* p) { return _mm256_cvtepu8_epi16(bytes(p)); }
  PLANISH_INLINE static V load(const int8_t* p) { return _mm256_cvtepi8_epi16(bytes(p)); }
  PLANISH_INLINE static V add(V a, V b) { return _mm256_add_epi16(a, b); }
  PLANISH_INLINE static void floats(V x, __m256* y) {
    y[0] = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm256_castsi256_si128(x)));
    y[1] = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm256_extracti128_si256(x, 1)));
  }

 private:
  PLANISH_INLINE static __m128i bytes(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
};

}  // namespace

void byte_average_pool_avx2(const ByteAveragePool& p, const void* x, void* y, int64_t line_begin, int64_t line_end) {
  byte_average_pool_generic<simd::Avx2Floats, Avx2Sums>(p, x, y, line_begin, line_end);
}

}  // namespace planish::kernels
