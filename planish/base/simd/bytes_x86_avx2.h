#pragma once

// Floats that become bytes, for files compiled for AVX2.

#include "planish/base/simd/x86_avx2.h"

namespace planish::simd {
namespace {

struct Avx2Bytes {
  /// What `store` does behind rounding, all in i8: adds, clamps, and then flips the highest bit where bytes are u8.
  __m256i offset;
  __m128i low;
  __m128i high;
  __m128i flip;

  /// For values that become x + zero, clamped to q_low + zero .. q_high + zero.
  PLANISH_INLINE static Avx2Bytes range(float q_low, float q_high, int32_t zero, bool is_signed) {
    const int32_t shift = is_signed ? zero : zero - 128;
    const auto byte = [&](float q) { return _mm_set1_epi8(static_cast<char>(__builtin_nearbyintf(q) + shift)); };
    return {_mm256_set1_epi16(static_cast<int16_t>(shift)), byte(q_low), byte(q_high),
            _mm_set1_epi8(static_cast<char>(is_signed ? 0 : 0x80))};
  }

  /// Stores the first `n` of V <= 2 vectors, rounded and clamped. Values must be those of 32-bit integers.
  template <int V>
  PLANISH_INLINE void store(uint8_t* p, const __m256* x, int64_t n) const {
    const __m256i mixed = _mm256_packs_epi32(_mm256_cvtps_epi32(x[0]), _mm256_cvtps_epi32(x[V - 1]));
    // Packing works within 128 bits, so that quarters come out as 0, 2, 1, 3.
    const __m256i words = _mm256_permute4x64_epi64(_mm256_adds_epi16(mixed, offset), 0xd8);
    const __m128i packed = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    const __m128i bytes = _mm_xor_si128(_mm_min_epi8(_mm_max_epi8(packed, low), high), flip);
    if (n == 16) return _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
    if (n == 8) return _mm_storel_epi64(reinterpret_cast<__m128i*>(p), bytes);
    const auto first = static_cast<uint64_t>(_mm_cvtsi128_si64(bytes));
    const auto second = static_cast<uint64_t>(_mm_extract_epi64(bytes, 1));
    for (int64_t i = 0; i < n; ++i) p[i] = static_cast<uint8_t>((i < 8 ? first : second) >> (i % 8 * 8));
  }
};

}  // namespace
}  // namespace planish::simd
