#pragma once

// Vectors of 256 bits for the files compiled for AVX2 and AVX-VNNI.

#include <immintrin.h>

#include "planish/base/simd/bytes_x86_avx2.h"
#include "planish/kernels/cpu/inverted_residual_int8/generic.h"

namespace planish::kernels {
namespace {

/// All that InvertedResidualInt8 asks for but dot().
struct InvertedResidualAvx2Vectors {
  using Vec = __m256i;
  using Floats = simd::Avx2Floats;
  /// As simd::Avx2Bytes, for all 32 bytes.
  struct Range {
    __m256i offset;
    __m256i low;
    __m256i high;
    __m256i flip;
  };
  static constexpr int kLanes = 8;
  static constexpr int kExpandColumns = 1;
  static constexpr int kExpandVectors = 2;
  static constexpr int kProjectVectors = 2;

  PLANISH_INLINE static Vec load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  PLANISH_INLINE static void store(void* p, Vec x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }
  PLANISH_INLINE static Vec broadcast4(const void* p) {
    int32_t four;
    __builtin_memcpy(&four, p, sizeof(four));
    return _mm256_set1_epi32(four);
  }
  PLANISH_INLINE static Vec broadcast16(const void* p) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(p)));
  }
  PLANISH_INLINE static Vec shuffle(Vec bytes, Vec order) { return _mm256_shuffle_epi8(bytes, order); }
  PLANISH_INLINE static void keep(Vec& x) { asm("" : "+x"(x)); }
  PLANISH_INLINE static __m256 to_float(Vec x) { return _mm256_cvtepi32_ps(x); }

  PLANISH_INLINE static Range range(const QuantizedEpilogue& e, int32_t zero, bool is_signed) {
    const simd::Avx2Bytes half = simd::Avx2Bytes::range(e.low, e.high, zero, is_signed);
    return {half.offset, _mm256_broadcastsi128_si256(half.low), _mm256_broadcastsi128_si256(half.high),
            _mm256_broadcastsi128_si256(half.flip)};
  }
  template <bool kFull>
  PLANISH_INLINE static Vec bytes_of(const __m256* x, const Range& range) {
    const auto words = [](__m256 a, __m256 b) {
      return _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));
    };
    const __m256i low = words(x[0], x[1]);
    const __m256i high = words(x[2], x[3]);
    if constexpr (kFull) return _mm256_packus_epi16(low, high);
    const __m256i packed =
        _mm256_packs_epi16(_mm256_adds_epi16(low, range.offset), _mm256_adds_epi16(high, range.offset));
    return _mm256_xor_si256(_mm256_min_epi8(_mm256_max_epi8(packed, range.low), range.high), range.flip);
  }
  template <int V>
  PLANISH_INLINE static void store_row(uint8_t* y, const __m256* x, int64_t cols, const Range& range) {
    const simd::Avx2Bytes half{range.offset, _mm256_castsi256_si128(range.low), _mm256_castsi256_si128(range.high),
                               _mm256_castsi256_si128(range.flip)};
    half.store<V>(y, x, cols);
  }
};

}  // namespace
}  // namespace planish::kernels
