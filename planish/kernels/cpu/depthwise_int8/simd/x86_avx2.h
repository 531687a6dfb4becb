#pragma once

// What the files compiled for AVX2 and for AVX-VNNI share.

#include <immintrin.h>

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/base/simd/unroll.h"
#include "planish/kernels/cpu/depthwise_int8/depthwise_int8.h"

namespace planish::kernels {
namespace {

/// 32 channels of L lines, 3 or 4, as [channel][4], as bytes without sign.
template <int L>
PLANISH_INLINE void interleave_bytes(const uint8_t* const* rows, int n, const DepthwiseTask& t, uint8_t* to) {
  const __m256i shift = _mm256_set1_epi8(static_cast<char>(t.shift));
  // Unpacking works within 128 bits: four bytes of each half first, so that channels come out in order.
  const __m256i order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
  const auto line = [&](int r) {
    alignas(32) uint8_t copy[32];
    const uint8_t* from = rows[r];
    if (n < 32) {
      __builtin_memset(copy, 0, sizeof(copy));
      __builtin_memcpy(copy, from, static_cast<unsigned>(n));
      from = copy;
    }
    const __m256i x = _mm256_add_epi8(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)), shift);
    return _mm256_permutevar8x32_epi32(x, order);
  };
  const __m256i a = line(0);
  const __m256i b = line(1);
  const __m256i c = line(2);
  const __m256i d = L == 4 ? line(3) : _mm256_setzero_si256();
  const __m256i ab_low = _mm256_unpacklo_epi8(a, b);
  const __m256i ab_high = _mm256_unpackhi_epi8(a, b);
  const __m256i cd_low = _mm256_unpacklo_epi8(c, d);
  const __m256i cd_high = _mm256_unpackhi_epi8(c, d);
  auto* out = reinterpret_cast<__m256i*>(to);
  _mm256_store_si256(out, _mm256_unpacklo_epi16(ab_low, cd_low));
  _mm256_store_si256(out + 1, _mm256_unpackhi_epi16(ab_low, cd_low));
  _mm256_store_si256(out + 2, _mm256_unpacklo_epi16(ab_high, cd_high));
  _mm256_store_si256(out + 3, _mm256_unpackhi_epi16(ab_high, cd_high));
}

/// 16 channels of two lines as [channel][line], widened to 16 bits.
PLANISH_INLINE void interleave_words(const uint8_t* const* rows, int n, const DepthwiseTask& t, int16_t* to) {
  const auto line = [&](int r) {
    alignas(16) uint8_t copy[16];
    const uint8_t* from = rows[r];
    if (n < 16) {
      __builtin_memset(copy, 0, sizeof(copy));
      __builtin_memcpy(copy, from, static_cast<unsigned>(n));
      from = copy;
    }
    const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return _mm256_permute4x64_epi64(t.is_signed ? _mm256_cvtepi8_epi16(x) : _mm256_cvtepu8_epi16(x), 0xd8);
  };
  const __m256i a = line(0);
  const __m256i b = line(1);
  auto* out = reinterpret_cast<__m256i*>(to);
  _mm256_store_si256(out, _mm256_unpacklo_epi16(a, b));
  _mm256_store_si256(out + 1, _mm256_unpackhi_epi16(a, b));
}

PLANISH_INLINE __m256i load_vector(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

/// N taps of one vector of channels, `weight(i)` being their weights and `dot(acc, x, w)` the product.
template <int N, typename Elem, typename Weight, typename Dot>
PLANISH_INLINE void add_taps(const Elem* x, int64_t pixel_stride, const int64_t* offsets, const int32_t* start,
                             int64_t pixels, int32_t* sums, int64_t sums_row, Weight weight, Dot dot) {
  __m256i w[N];
  const Elem* from[N];
  simd::unroll<N>([&](auto i) {
    w[i] = weight(i);
    from[i] = x + offsets[i];
  });
  const __m256i first = start != nullptr ? load_vector(start) : _mm256_setzero_si256();
  for (int64_t p = 0; p < pixels; ++p) {
    __m256i acc = start != nullptr ? first : load_vector(sums + p * sums_row);
    simd::unroll<N>([&](auto i) { acc = dot(acc, load_vector(from[i] + p * pixel_stride), w[i]); });
    _mm256_store_si256(reinterpret_cast<__m256i*>(sums + p * sums_row), acc);
  }
}

}  // namespace
}  // namespace planish::kernels
