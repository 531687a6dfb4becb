#pragma once

// Vectors of floats and 32-bit sums in GCC's vector extension, for the baseline instruction set. The same interface as
// x86_avx2.h and x86_avx512.h, which use intrinsics; code over it is written once. In an anonymous namespace for the
// reason given in math.h.

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/base/simd/rough_exp2.h"

namespace planish::simd {
namespace {

struct PortableFloats {
  static constexpr int kLanes = 8;
  static constexpr int kRow = 1;  ///< vectors that store_row takes
  struct F {
    float v[kLanes];
  };

  PLANISH_INLINE static F set1(float x) {
    F f;
    for (float& e : f.v) e = x;
    return f;
  }
  PLANISH_INLINE static F load(const float* p) { return load(p, kLanes); }
  /// The first n lanes; the others are 0 and their memory is not touched.
  PLANISH_INLINE static F load(const float* p, int n) { return load_any(p, n); }
  PLANISH_INLINE static F load(const int32_t* p) { return load_any(p, kLanes); }
  PLANISH_INLINE static F load(const int8_t* p) { return load_any(p, kLanes); }
  PLANISH_INLINE static F load(const int8_t* p, int n) { return load_any(p, n); }
  PLANISH_INLINE static F load(const uint8_t* p) { return load_any(p, kLanes); }
  PLANISH_INLINE static F load(const uint8_t* p, int n) { return load_any(p, n); }

  PLANISH_INLINE static F add(F a, F b) {
    for (int i = 0; i < kLanes; ++i) a.v[i] += b.v[i];
    return a;
  }
  PLANISH_INLINE static F mul(F a, F b) {
    for (int i = 0; i < kLanes; ++i) a.v[i] *= b.v[i];
    return a;
  }
  /// a * b + c.
  PLANISH_INLINE static F fma(F a, F b, F c) { return add(mul(a, b), c); }
  /// The smaller and the larger of each pair; any of the two where one is NaN.
  PLANISH_INLINE static F min(F a, F b) {
    for (int i = 0; i < kLanes; ++i) a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
    return a;
  }
  PLANISH_INLINE static F max(F a, F b) {
    for (int i = 0; i < kLanes; ++i) a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
    return a;
  }
  /// min(max(x, low), high).
  PLANISH_INLINE static F clamp(F x, F low, F high) {
    for (int i = 0; i < kLanes; ++i) {
      const float a = x.v[i] > low.v[i] ? x.v[i] : low.v[i];
      x.v[i] = a < high.v[i] ? a : high.v[i];
    }
    return x;
  }
  /// clamp that leaves NaN as it is.
  PLANISH_INLINE static F limit(F x, F low, F high) {
    for (int i = 0; i < kLanes; ++i) {
      const float a = x.v[i] < low.v[i] ? low.v[i] : x.v[i];
      x.v[i] = a > high.v[i] ? high.v[i] : a;
    }
    return x;
  }
  PLANISH_INLINE static F div(F a, F b) {
    for (int i = 0; i < kLanes; ++i) a.v[i] /= b.v[i];
    return a;
  }
  /// To the nearest integer, ties to even.
  PLANISH_INLINE static F round(F x) {
    for (float& e : x.v) e = __builtin_rintf(e);
    return x;
  }
  /// 1 / x for normal x, relative error below 2^-13.
  PLANISH_INLINE static F reciprocal(F x) { return div(set1(1.0F), x); }
  /// x * 2^k for integers k of magnitude up to 126.
  PLANISH_INLINE static F scale_by_power(F x, F k) {
    for (int i = 0; i < kLanes; ++i) x.v[i] *= __builtin_bit_cast(float, (static_cast<int32_t>(k.v[i]) + 127) << 23);
    return x;
  }
  /// x = whole + rest with whole an integer and rest at most 1/2, such that 2^x is scale_by_power(2^rest, whole);
  /// saturates where 2^x is no normal float.
  PLANISH_INLINE static F split_power(F x, F& whole) {
    x = limit(x, set1(-126.0F), set1(126.0F));
    whole = round(x);
    return fma(whole, set1(-1.0F), x);
  }
  /// x[index[i]] for the first n lanes, 0 where the index is negative and behind n.
  PLANISH_INLINE static F gather(const float* x, const int32_t* index, int n) {
    F f;
    for (int i = 0; i < kLanes; ++i) f.v[i] = i < n && index[i] >= 0 ? x[index[i]] : 0.0F;
    return f;
  }
  /// x, or 0 where it is NaN.
  PLANISH_INLINE static F zero_for_nan(F x) {
    for (float& e : x.v) e = e == e ? e : 0.0F;
    return x;
  }
  /// 2^x, relative error below 1e-4; within 2^-126 and 2^126. The cubic of least relative error for 2^f, 0 <= f < 1.
  PLANISH_INLINE static F rough_exp2(F x) {
    x = clamp(x, set1(-126.0F), set1(126.0F));
    F whole = x;
    for (float& e : whole.v) e = __builtin_floorf(e);
    const F f = fma(whole, set1(-1.0F), x);
    return scale_by_power(rough_exp2_fraction<PortableFloats>(f), whole);
  }
  /// Values of `x` that store_row may be given for those from `low` to `high`, the ends of the bytes' range.
  PLANISH_INLINE static F limit_row(F x, F low, F high) { return clamp(x, low, high); }
  PLANISH_INLINE static void store(float* p, F x) { store(p, x, kLanes); }
  PLANISH_INLINE static void store(float* p, F x, int n) {
    for (int i = 0; i < n; ++i) p[i] = x.v[i];
  }
  /// Low bytes of round-to-even(x) + zero, for |x| < 2^22.
  PLANISH_INLINE static void store_bytes(uint8_t* p, F x, int32_t zero) { store_bytes(p, x, zero, kLanes); }
  PLANISH_INLINE static void store_bytes(uint8_t* p, F x, int32_t zero, int n) {
    // Adding 1.5 * 2^23 leaves the rounded integer in the low bits of the mantissa.
    for (int i = 0; i < n; ++i)
      p[i] = static_cast<uint8_t>(__builtin_bit_cast(uint32_t, x.v[i] + 12582912.0F) + static_cast<uint32_t>(zero));
  }
  /// kRow vectors as bytes in one store. Values must lie within the range of i8 or of u8, as `is_signed` says.
  PLANISH_INLINE static void store_row(uint8_t* p, const F* x, int32_t zero, bool) { store_bytes(p, x[0], zero); }

 private:
  template <typename T>
  PLANISH_INLINE static F load_any(const T* p, int n) {
    F f;
    for (int i = 0; i < kLanes; ++i) f.v[i] = i < n ? static_cast<float>(p[i]) : 0.0F;
    return f;
  }
};

}  // namespace
}  // namespace planish::simd
