#include <immintrin.h>

#include "planish/kernels/cpu/byte_lookup/variants.h"

namespace planish::kernels {

// A shuffle looks up 16 entries: the low half of each byte chooses among them, the high half which of the 16 shuffles
// of the table counts.
void byte_lookup_avx512(const uint8_t* table, int64_t n, const uint8_t* x, uint8_t* y) {
  constexpr int kRows = 16;
  constexpr int64_t kBytes = 64;
  constexpr __mmask16 kAll = 0xffff;  // the unmasked intrinsic starts from an undefined register: a warning of g++ 12
  __m512i row[kRows];
  for (int r = 0; r < kRows; ++r)
    row[r] = _mm512_maskz_broadcast_i32x4(kAll, _mm_loadu_si128(reinterpret_cast<const __m128i*>(table + r * kRows)));
  const __m512i nibble = _mm512_set1_epi8(0x0f);
  for (int64_t i = 0; i < n; i += kBytes) {
    const __mmask64 mask = n - i < kBytes ? (__mmask64{1} << (n - i)) - 1 : ~__mmask64{0};
    const __m512i v = _mm512_maskz_loadu_epi8(mask, x + i);
    const __m512i low = _mm512_and_si512(v, nibble);
    const __m512i high = _mm512_and_si512(_mm512_srli_epi16(v, 4), nibble);
    __m512i found = _mm512_setzero_si512();
    for (int r = 0; r < kRows; ++r) {
      const __mmask64 here = _mm512_cmpeq_epi8_mask(high, _mm512_set1_epi8(static_cast<char>(r)));
      found = _mm512_mask_shuffle_epi8(found, here, row[r], low);
    }
    _mm512_mask_storeu_epi8(y + i, mask, found);
  }
}

}  // namespace planish::kernels
