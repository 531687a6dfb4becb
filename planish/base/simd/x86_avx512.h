#pragma once

// Vectors of sixteen floats for files compiled for AVX-512 (F, BW, DQ, VL). The interface is described in portable.h.

#include <immintrin.h>

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/base/simd/rough_exp2.h"

namespace planish::simd {
namespace {

struct Avx512Floats {
  static constexpr int kLanes = 16;
  static constexpr int kRow = 4;  ///< vectors that store_row takes
  using F = __m512;

  PLANISH_INLINE static F set1(float x) { return _mm512_set1_ps(x); }
  PLANISH_INLINE static F load(const float* p) { return _mm512_loadu_ps(p); }
  PLANISH_INLINE static F load(const float* p, int n) { return _mm512_maskz_loadu_ps(mask(n), p); }
  PLANISH_INLINE static F load(const int32_t* p) { return to_float(_mm512_loadu_si512(p)); }
  PLANISH_INLINE static F load(const int8_t* p) { return load(p, kLanes); }
  PLANISH_INLINE static F load(const int8_t* p, int n) {
    return to_float(_mm512_maskz_cvtepi8_epi32(kAll, _mm_maskz_loadu_epi8(mask(n), p)));
  }
  PLANISH_INLINE static F load(const uint8_t* p) { return load(p, kLanes); }
  PLANISH_INLINE static F load(const uint8_t* p, int n) {
    return to_float(_mm512_maskz_cvtepu8_epi32(kAll, _mm_maskz_loadu_epi8(mask(n), p)));
  }

  PLANISH_INLINE static F add(F a, F b) { return a + b; }
  PLANISH_INLINE static F mul(F a, F b) { return a * b; }
  PLANISH_INLINE static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  PLANISH_INLINE static F min(F a, F b) { return _mm512_maskz_min_ps(kAll, a, b); }
  PLANISH_INLINE static F max(F a, F b) { return _mm512_maskz_max_ps(kAll, a, b); }
  PLANISH_INLINE static F clamp(F x, F low, F high) {
    return _mm512_maskz_min_ps(kAll, _mm512_maskz_max_ps(kAll, x, low), high);
  }
  /// clamp that leaves NaN as it is.
  PLANISH_INLINE static F limit(F x, F low, F high) {
    return _mm512_maskz_min_ps(kAll, high, _mm512_maskz_max_ps(kAll, low, x));
  }
  PLANISH_INLINE static F div(F a, F b) { return a / b; }
  PLANISH_INLINE static F round(F x) {
    return _mm512_maskz_roundscale_ps(kAll, x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  PLANISH_INLINE static F reciprocal(F x) { return _mm512_maskz_rcp14_ps(kAll, x); }
  PLANISH_INLINE static F scale_by_power(F x, F k) { return _mm512_maskz_scalef_ps(kAll, x, k); }
  PLANISH_INLINE static F split_power(F x, F& whole) {
    const F rest = _mm512_maskz_reduce_ps(kAll, x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    whole = x - rest;
    return rest;
  }
  PLANISH_INLINE static F gather(const float* x, const int32_t* index, int n) {
    const __m512i i = _mm512_maskz_loadu_epi32(mask(n), index);
    const __mmask16 wanted = mask(n) & _mm512_cmpge_epi32_mask(i, _mm512_setzero_si512());
    return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), wanted, i, x, 4);
  }
  PLANISH_INLINE static F zero_for_nan(F x) { return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, x, _CMP_ORD_Q), x); }
  PLANISH_INLINE static F rough_exp2(F x) {
    constexpr int kFraction = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;  // x - floor(x)
    const F f = _mm512_maskz_reduce_ps(kAll, x, kFraction);
    return _mm512_maskz_scalef_ps(kAll, rough_exp2_fraction<Avx512Floats>(f), x);  // times 2^floor(x), saturated
  }
  // Packing saturates; only what no 32-bit integer holds must not come near it.
  PLANISH_INLINE static F limit_row(F x, F, F high) { return _mm512_maskz_min_ps(kAll, x, high); }
  PLANISH_INLINE static void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  PLANISH_INLINE static void store(float* p, F x, int n) { _mm512_mask_storeu_ps(p, mask(n), x); }
  PLANISH_INLINE static void store_bytes(uint8_t* p, F x, int32_t zero) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), to_bytes(x, zero));
  }
  PLANISH_INLINE static void store_bytes(uint8_t* p, F x, int32_t zero, int n) {
    _mm_mask_storeu_epi8(p, mask(n), to_bytes(x, zero));
  }
  /// kRow vectors as bytes in one store. Values must lie within the range of i8 or of u8, as `is_signed` says.
  PLANISH_INLINE static void store_row(uint8_t* p, const F* x, int32_t zero, bool is_signed) {
    const __m512i offset = _mm512_set1_epi16(static_cast<int16_t>(zero));
    const __m512i low = _mm512_adds_epi16(words(x[0], x[1]), offset);
    const __m512i high = _mm512_adds_epi16(words(x[2], x[3]), offset);
    _mm512_storeu_si512(p, in_order(is_signed ? _mm512_packs_epi16(low, high) : _mm512_packus_epi16(low, high)));
  }

  /// What bytes_of does behind rounding, all in i8: adds, clamps, and then flips the highest bit where bytes are u8.
  struct ByteRange {
    __m512i offset;
    __m512i low;
    __m512i high;
    __m512i flip;
  };
  /// For values that become x + zero, clamped to q_low + zero .. q_high + zero.
  PLANISH_INLINE static ByteRange byte_range(float q_low, float q_high, int32_t zero, bool is_signed) {
    const int32_t shift = is_signed ? zero : zero - 128;
    const auto byte = [&](float q) { return _mm512_set1_epi8(static_cast<char>(__builtin_nearbyintf(q) + shift)); };
    return {_mm512_set1_epi16(static_cast<int16_t>(shift)), byte(q_low), byte(q_high),
            _mm512_set1_epi8(static_cast<char>(is_signed ? 0 : 0x80))};
  }
  /// V <= kRow vectors of 32-bit integers, rounded and clamped as bytes: four of each vector in turn, as packing leaves
  /// them. Values must be those of 32-bit integers.
  template <int V>
  PLANISH_INLINE static __m512i bytes_of(const F* x, const ByteRange& range) {
    const __m512i low = _mm512_adds_epi16(words(x[0], x[V > 1 ? 1 : 0]), range.offset);
    const __m512i high = V > 2 ? _mm512_adds_epi16(words(x[V > 2 ? 2 : 0], x[V > 3 ? 3 : 2 % V]), range.offset) : low;
    const __m512i bytes = _mm512_maskz_max_epi8(kAllBytes, _mm512_packs_epi16(low, high), range.low);
    return _mm512_xor_si512(_mm512_maskz_min_epi8(kAllBytes, bytes, range.high), range.flip);
  }
  /// Bytes of bytes_of, one vector behind the other.
  PLANISH_INLINE static __m512i in_order(__m512i bytes) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_maskz_permutexvar_epi32(kAll, order, bytes);
  }
  PLANISH_INLINE static F from_int(__m512i x) { return to_float(x); }

 private:
  // The unmasked intrinsics start from an undefined register, which g++ 12 warns about.
  static constexpr __mmask16 kAll = 0xffff;
  PLANISH_INLINE static __mmask16 mask(int n) { return static_cast<__mmask16>((1U << n) - 1U); }
  PLANISH_INLINE static F to_float(__m512i x) { return _mm512_maskz_cvtepi32_ps(kAll, x); }
  static constexpr __mmask64 kAllBytes = ~__mmask64{0};
  PLANISH_INLINE static __m512i words(F a, F b) {
    return _mm512_packs_epi32(_mm512_maskz_cvtps_epi32(kAll, a), _mm512_maskz_cvtps_epi32(kAll, b));
  }
  PLANISH_INLINE static __m128i to_bytes(F x, int32_t zero) {
    return _mm512_maskz_cvtepi32_epi8(kAll,
                                      _mm512_add_epi32(_mm512_maskz_cvtps_epi32(kAll, x), _mm512_set1_epi32(zero)));
  }
};

}  // namespace
}  // namespace planish::simd
