#pragma once

// Vectors of eight floats for files compiled for AVX2. The interface is described in portable.h.

#include <immintrin.h>

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/base/simd/rough_exp2.h"

namespace planish::simd {
namespace {

struct Avx2Floats {
  static constexpr int kLanes = 8;
  static constexpr int kRow = 2;
  using F = __m256;

  PLANISH_INLINE static F set1(float x) { return _mm256_set1_ps(x); }
  PLANISH_INLINE static F load(const float* p) { return _mm256_loadu_ps(p); }
  PLANISH_INLINE static F load(const float* p, int n) { return _mm256_maskload_ps(p, mask(n)); }
  PLANISH_INLINE static F load(const int32_t* p) {
    return _mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  PLANISH_INLINE static F load(const int8_t* p) {
    return from_i8(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  PLANISH_INLINE static F load(const int8_t* p, int n) { return from_i8(partial(p, n)); }
  PLANISH_INLINE static F load(const uint8_t* p) {
    return from_u8(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  PLANISH_INLINE static F load(const uint8_t* p, int n) { return from_u8(partial(p, n)); }

  PLANISH_INLINE static F add(F a, F b) { return _mm256_add_ps(a, b); }
  PLANISH_INLINE static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  PLANISH_INLINE static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  PLANISH_INLINE static F min(F a, F b) { return _mm256_min_ps(a, b); }
  PLANISH_INLINE static F max(F a, F b) { return _mm256_max_ps(a, b); }
  PLANISH_INLINE static F clamp(F x, F low, F high) { return _mm256_min_ps(_mm256_max_ps(x, low), high); }
  PLANISH_INLINE static F limit(F x, F low, F high) { return _mm256_min_ps(high, _mm256_max_ps(low, x)); }
  PLANISH_INLINE static F div(F a, F b) { return _mm256_div_ps(a, b); }
  PLANISH_INLINE static F round(F x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  PLANISH_INLINE static F reciprocal(F x) {
    const F r = _mm256_rcp_ps(x);
    return r * _mm256_fnmadd_ps(x, r, set1(2.0F));  // Newton's step doubles its 12 bits
  }
  PLANISH_INLINE static F scale_by_power(F x, F k) {
    const __m256i exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(k), _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(x, _mm256_castsi256_ps(exponent));
  }
  PLANISH_INLINE static F split_power(F x, F& whole) {
    x = limit(x, set1(-126.0F), set1(126.0F));
    whole = round(x);
    return x - whole;
  }
  PLANISH_INLINE static F gather(const float* x, const int32_t* index, int n) {
    const __m256i lanes = mask(n);
    const __m256i i = _mm256_maskload_epi32(index, lanes);
    const __m256i wanted = _mm256_and_si256(lanes, _mm256_cmpgt_epi32(i, _mm256_set1_epi32(-1)));
    return _mm256_mask_i32gather_ps(_mm256_setzero_ps(), x, i, _mm256_castsi256_ps(wanted), 4);
  }
  PLANISH_INLINE static F zero_for_nan(F x) { return _mm256_and_ps(x, _mm256_cmp_ps(x, x, _CMP_ORD_Q)); }
  PLANISH_INLINE static F rough_exp2(F x) {
    x = clamp(x, set1(-126.0F), set1(126.0F));
    const F whole = _mm256_floor_ps(x);
    return scale_by_power(rough_exp2_fraction<Avx2Floats>(x - whole), whole);
  }
  // Packing saturates; only what no 32-bit integer holds must not come near it.
  PLANISH_INLINE static F limit_row(F x, F, F high) { return _mm256_min_ps(x, high); }
  PLANISH_INLINE static void store(float* p, F x) { _mm256_storeu_ps(p, x); }
  PLANISH_INLINE static void store(float* p, F x, int n) { _mm256_maskstore_ps(p, mask(n), x); }
  PLANISH_INLINE static void store_bytes(uint8_t* p, F x, int32_t zero) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), to_bytes(x, zero));
  }
  PLANISH_INLINE static void store_bytes(uint8_t* p, F x, int32_t zero, int n) {
    const auto bytes = static_cast<uint64_t>(_mm_cvtsi128_si64(to_bytes(x, zero)));
    for (int i = 0; i < n; ++i) p[i] = static_cast<uint8_t>(bytes >> (8 * i));
  }
  PLANISH_INLINE static void store_row(uint8_t* p, const F* x, int32_t zero, bool is_signed) {
    const __m256i mixed = _mm256_packs_epi32(_mm256_cvtps_epi32(x[0]), _mm256_cvtps_epi32(x[1]));
    const __m256i offset = _mm256_set1_epi16(static_cast<int16_t>(zero));
    // Packing works within 128 bits, so that quarters come out as 0, 2, 1, 3.
    const __m256i words = _mm256_permute4x64_epi64(_mm256_adds_epi16(mixed, offset), 0xd8);
    const __m128i low = _mm256_castsi256_si128(words);
    const __m128i high = _mm256_extracti128_si256(words, 1);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     is_signed ? _mm_packs_epi16(low, high) : _mm_packus_epi16(low, high));
  }

 private:
  PLANISH_INLINE static __m256i mask(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  PLANISH_INLINE static __m128i partial(const void* p, int n) {
    const auto* bytes = static_cast<const uint8_t*>(p);
    uint64_t all = 0;
    for (int i = 0; i < n; ++i) all |= static_cast<uint64_t>(bytes[i]) << (8 * i);
    return _mm_cvtsi64_si128(static_cast<long long>(all));
  }
  PLANISH_INLINE static F from_i8(__m128i b) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(b)); }
  PLANISH_INLINE static F from_u8(__m128i b) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(b)); }
  PLANISH_INLINE static __m128i to_bytes(F x, int32_t zero) {
    const __m256i q = _mm256_add_epi32(_mm256_cvtps_epi32(x), _mm256_set1_epi32(zero));
    // Masked to 0..255, so that the unsigned saturation of the two packs never changes a value.
    const __m256i low = _mm256_and_si256(q, _mm256_set1_epi32(0xff));
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
    return _mm_packus_epi16(words, words);
  }
};

}  // namespace
}  // namespace planish::simd
