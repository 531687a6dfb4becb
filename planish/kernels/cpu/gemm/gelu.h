#pragma once

#include <cstddef>
#include <cstdint>

#include "planish/base/macros.h"

// x Phi(x) = max(x, 0) + h(|x|), and h is 0 in f32 beyond kGeluEdge. In between, h around each of sixteen evenly spaced
// points is a polynomial of degree 4 in the distance to it, in units of their spacing: fitted by reweighted least
// squares, error at most 3e-7.

namespace planish::kernels {
namespace {

constexpr int kGeluPoints = 16;
constexpr float kGeluEdge = 5.2F;
constexpr float kGeluPerUnit = (kGeluPoints - 1) / kGeluEdge;

/// By power, then by point.
alignas(64) constexpr float kGeluTable[5][kGeluPoints] = {
    {1.82985042e-09F, -0.12633256F, -0.169208137F, -0.155136759F, -0.114776786F, -0.0719649179F, -0.0390265525F,
     -0.0184890725F, -0.00769395288F, -0.0028212754F, -0.000913388588F, -0.000261413794F, -6.61957054e-05F,
     -1.48391954e-05F, -2.94609433e-06F, -5.34933093e-07F},
    {-0.173333487F, -0.081186387F, -0.00920499526F, 0.0320371376F, 0.0446310184F, 0.0389777915F, 0.026565309F,
     0.015024257F, 0.00723554797F, 0.00300679223F, 0.00108647398F, 0.000343016265F, 9.49272308e-05F, 2.30796661e-05F,
     4.93792752e-06F, 5.09203046e-07F},
    {0.0479462012F, 0.0424344997F, 0.02863922F, 0.0128200138F, 0.000707671545F, -0.00536052765F, -0.00641104348F,
     -0.00490690881F, -0.0029159386F, -0.00142674361F, -0.000589992914F, -0.000209110592F, -6.40646981e-05F,
     -1.70603495e-05F, -3.9642159e-06F, -2.1610984e-06F},
    {-1.07216735e-05F, -0.00348030925F, -0.005278491F, -0.00487275621F, -0.00304916672F, -0.00107623375F,
     0.000202715315F, 0.000660233975F, 0.000603758732F, 0.000382056029F, 0.000190495149F, 7.84143591e-05F,
     2.72585472e-05F, 8.10632384e-06F, 2.07929037e-06F, 9.94821043e-07F},
    {-0.000942190467F, -0.000712604526F, -0.000164462354F, 0.000330886387F, 0.000524571311F, 0.000426148501F,
     0.000209593666F, 3.3653535e-05F, -4.67541174e-05F, -5.61876665e-05F, -3.79456395e-05F, -1.91020383e-05F,
     -7.73718354e-06F, -2.60648552e-06F, -7.43421356e-07F, 3.10614882e-06F},
};

/// GELU by erf of W floats.
template <int W>
struct Gelu {
  typedef float Vec __attribute__((vector_size(W * sizeof(float))));

  /// x Phi(x). With |x| cut off at 5.2, beyond which Phi is 0 or 1 in f32, erf(x / sqrt 2) / x is a polynomial of
  /// degree 12 in u = 2 (x / 5.2)^2 - 1, fitted so that the result errs by at most 1.5e-6 (found by reweighted least
  /// squares).
  PLANISH_INLINE static Vec of(Vec x) {
    constexpr float kEdge = 5.2F;
    constexpr float kCoefficients[] = {0.0018239996F,  -0.00514438958F, 0.00550921622F, -0.00672550714F, 0.0152327304F,
                                       -0.0264178098F, 0.0367542122F,   -0.049120886F,  0.0638126392F,   -0.0798906534F,
                                       0.100060849F,   -0.135486544F,   0.271899855F};
    Vec c = x < -kEdge ? Vec{} - kEdge : x;
    c = c > kEdge ? Vec{} + kEdge : c;
    const Vec u = c * c * (2.0F / (kEdge * kEdge)) - 1.0F;
    Vec erf = Vec{} + kCoefficients[0];
#pragma GCC unroll 16
    for (size_t i = 1; i < sizeof(kCoefficients) / sizeof(float); ++i) erf = erf * u + kCoefficients[i];
    const Vec y = x * 0.5F * (erf * c + 1.0F);
    return x < -kEdge ? Vec{} : y;
  }
};

#ifdef __AVX512F__
/// By table: a vector holds as many floats as there are points, so that a shuffle looks up all of them. NaN stays NaN.
template <>
struct Gelu<kGeluPoints> {
  typedef float Vec __attribute__((vector_size(kGeluPoints * sizeof(float))));
  typedef int32_t Bits __attribute__((vector_size(kGeluPoints * sizeof(float))));

  PLANISH_INLINE static Vec coefficients(int power, Bits point) {
    Vec all;
    __builtin_memcpy(&all, kGeluTable[power], sizeof(all));
    return __builtin_shuffle(all, point);
  }

  PLANISH_INLINE static Vec of(Vec x) {
    constexpr float kMagic = 12582912.0F;  // 1.5 * 2^23: the lowest bits of a sum are its whole part
    Vec a = reinterpret_cast<Vec>(reinterpret_cast<Bits>(x) & INT32_MAX);
    a = a < kGeluEdge ? a : Vec{} + kGeluEdge;
    const Vec shifted = a * kGeluPerUnit + kMagic;
    const Vec t = a * kGeluPerUnit - (shifted - kMagic);
    const Bits point = reinterpret_cast<Bits>(shifted);
    Vec h = coefficients(4, point);
#pragma GCC unroll 4
    for (int power = 3; power >= 0; --power) h = h * t + coefficients(power, point);
    return h + (Vec{} > x ? Vec{} : x);
  }
};
#endif

}  // namespace
}  // namespace planish::kernels
