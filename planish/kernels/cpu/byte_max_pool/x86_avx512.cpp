#include <immintrin.h>

#include "planish/kernels/cpu/byte_max_pool/generic.h"
#include "planish/kernels/cpu/byte_max_pool/variants.h"

namespace planish::kernels {
namespace {

struct Avx512Bytes {
  static constexpr int64_t kBytes = 64;
  using V = __m512i;
  PLANISH_INLINE static V load(const uint8_t* p) { return _mm512_loadu_si512(p); }
  PLANISH_INLINE static void store(uint8_t* p, V v) { _mm512_storeu_si512(p, v); }
  PLANISH_INLINE static V set1(uint8_t x) { return _mm512_set1_epi8(static_cast<char>(x)); }
  template <bool kSigned>
  PLANISH_INLINE static V max(V a, V b) {
    return kSigned ? _mm512_max_epi8(a, b) : _mm512_max_epu8(a, b);
  }
};

}  // namespace

void byte_max_pool_avx512(const ByteMaxPool& p, const uint8_t* x, uint8_t* y, int64_t line_begin, int64_t line_end) {
  byte_max_pool_generic<Avx512Bytes>(p, x, y, line_begin, line_end);
}

}  // namespace planish::kernels
