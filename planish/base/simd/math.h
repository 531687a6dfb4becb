#pragma once

// Elementary functions over float without branches or library calls, so that loops over them vectorise on every
// instruction set. Relative error of exp below 2 ulp; the others as noted. Compiled into each instruction set's own
// file, therefore in an anonymous namespace: no code built for AVX may serve as the baseline's copy at link time.

#include <bit>
#include <cstdint>

#include "planish/base/macros.h"

namespace planish::simd {
namespace {

/// e^x. Overflow gives +inf, underflow 0, NaN stays NaN.
/// x = k*ln2 + r with |r| <= ln2/2; e^r by a degree-6 Taylor polynomial in Horner form (remainder below 2e-7).
PLANISH_INLINE float exp_f32(float x) {
  const float clamped = x < -104.0F ? -104.0F : (x > 89.0F ? 89.0F : x);
  const float k = __builtin_rintf(clamped * 1.44269504F);
  // ln2 in two parts (Cody and Waite), so that k*ln2 is subtracted almost exactly.
  float r = clamped - k * 0.693359375F;
  r = r + k * 2.12194440e-4F;
  float p = 1.0F / 720.0F;
  p = p * r + 1.0F / 120.0F;
  p = p * r + 1.0F / 24.0F;
  p = p * r + 1.0F / 6.0F;
  p = p * r + 0.5F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  // 2^k in two factors, since k reaches -150 and 129.
  const auto whole = static_cast<int32_t>(k);
  const int32_t half = whole >> 1;
  const float f1 = std::bit_cast<float>((half + 127) << 23);
  const float f2 = std::bit_cast<float>((whole - half + 127) << 23);
  return p * f1 * f2;
}

/// Natural logarithm for positive x; 0 gives -inf, negative x NaN.
/// x = m * 2^e with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(s), s = (m-1)/(m+1), series to s^9 (below 1e-7).
PLANISH_INLINE float log_f32(float x) {
  const bool tiny = x < 1.17549435e-38F;
  const float scaled = tiny ? x * 8388608.0F : x;  // subnormal: shift into the normal range
  // Unsigned differences wrap; for negative x they mean nothing, and the result is replaced below.
  const auto bits = std::bit_cast<uint32_t>(scaled);
  const auto e = static_cast<int32_t>(bits - 0x3f3504f3U) >> 23;  // exponent relative to sqrt(1/2)
  const float m = std::bit_cast<float>(bits - (static_cast<uint32_t>(e) << 23));
  const float s = (m - 1.0F) / (m + 1.0F);
  const float z = s * s;
  const float series = 2.0F * s * (1.0F + z * (0.333333333F + z * (0.2F + z * (0.142857143F + z * 0.111111111F))));
  const float k = static_cast<float>(e) - (tiny ? 23.0F : 0.0F);
  const float y = k * 0.693147181F + series;
  const float inf = __builtin_inff();
  const float special = x == 0.0F ? -inf : (x < 0.0F ? __builtin_nanf("") : y);
  return x == inf || x != x ? x : special;
}

/// 1 / (1 + e^-x).
PLANISH_INLINE float sigmoid_f32(float x) { return 1.0F / (1.0F + exp_f32(-x)); }

/// tanh; for small |x| the odd series, since 1 - 2/(e^2x+1) cancels there.
PLANISH_INLINE float tanh_f32(float x) {
  const float a = __builtin_fabsf(x);
  const float big = 1.0F - 2.0F / (exp_f32(2.0F * a) + 1.0F);
  const float z = x * x;
  const float small = a * (1.0F + z * (-0.333333333F + z * (0.133333333F + z * (-0.0539682540F + z * 0.0218694885F))));
  const float y = a < 0.3F ? small : big;
  return __builtin_copysignf(y, x);
}

/// log(1 + e^x), without overflow for large x.
PLANISH_INLINE float softplus_f32(float x) {
  const float a = __builtin_fabsf(x);
  const float t = exp_f32(-a);
  // log1p(t) for t in (0, 1]: log(u) * t / (u - 1) with u = 1 + t corrects the rounding of u (Kahan).
  const float u = 1.0F + t;
  const float d = u - 1.0F;
  const float l = d == 0.0F ? t : log_f32(u) * (t / d);
  return (x > 0.0F ? x : 0.0F) + (x != x ? x : l);
}

/// Error function, relative error below 4e-7: x P(x^2) / Q(x^2) with the least relative error (5e-8) up to 3.92, from
/// where on it rounds to 1. No exponential, and one division that runs beside the products.
PLANISH_INLINE float erf_f32(float x) {
  const float z = x * x;
  float p = 1.99237871e-8F;
  p = p * z - 1.95779376e-6F;
  p = p * z + 1.41847122e-4F;
  p = p * z + 3.70152853e-3F;
  p = p * z + 5.05731143e-2F;
  p = p * z + 0.199923068F;
  p = p * z + 1.12837911F;
  float q = 9.5601473e-4F;
  q = q * z + 1.43530592e-2F;
  q = q * z + 0.114997789F;
  q = q * z + 0.510508835F;
  q = q * z + 1.0F;
  const float a = __builtin_fabsf(x);
  const float inside = a * p / q;
  const float y = a >= 3.92F || inside > 1.0F ? 1.0F : inside;
  return __builtin_copysignf(y, x);
}

/// GELU by erf is x Phi(x) = max(x, 0) - a Phi(-a) with a = |x|, and the eighth root of Phi(-a) is so smooth that a
/// polynomial of degree 7 stands for it, highest power first: fitted by reweighted least squares on what it becomes in
/// the result, which errs by at most 2.5e-7. Beyond the edge a Phi(-a) is less than that.
constexpr float kGeluEdge = 5.5F;
constexpr float kGeluRoot[] = {3.236409e-06F,   -3.5671063e-05F, -4.0023468e-05F, 0.0016305957F,
                               -0.00079278054F, -0.031866323F,   -0.09147212F,    0.9170052F};

PLANISH_INLINE float gelu_f32(float x) {
  const float magnitude = __builtin_fabsf(x);
  const float a = magnitude > kGeluEdge ? kGeluEdge : magnitude;
  float root = kGeluRoot[0];
  for (int i = 1; i < 8; ++i) root = root * a + kGeluRoot[i];
  root *= root;
  root *= root;
  return (x > 0.0F ? x : 0.0F) - a * (root * root);
}

}  // namespace
}  // namespace planish::simd
