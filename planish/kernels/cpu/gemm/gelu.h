#pragma once

#include <cstddef>
#include <cstdint>

#include "planish/base/macros.h"

namespace planish::kernels {
namespace {

/// GELU by erf of W floats.
template <int W>
struct Gelu {
  typedef float Vec __attribute__((vector_size(W * sizeof(float))));
  typedef int32_t Bits __attribute__((vector_size(W * sizeof(float))));

  /// Both return `b` where one is NaN. The compiler makes a comparison and a blend of them, three to four times the
  /// work.
  PLANISH_INLINE static Vec min(Vec a, Vec b) {
#ifdef __AVX__
    if constexpr (W >= 8) {
      asm("vminps %2, %1, %0" : "=v"(a) : "v"(a), "v"(b));
      return a;
    }
#endif
    return a < b ? a : b;
  }
  PLANISH_INLINE static Vec max(Vec a, Vec b) {
#ifdef __AVX__
    if constexpr (W >= 8) {
      asm("vmaxps %2, %1, %0" : "=v"(a) : "v"(a), "v"(b));
      return a;
    }
#endif
    return a > b ? a : b;
  }

  /// x Phi(x) = max(x, 0) - a Phi(-a) with a = |x|, and the eighth root of Phi(-a) is so smooth that a polynomial of
  /// degree 7 stands for it: fitted by reweighted least squares on what it becomes in the result, which errs by at most
  /// 2.5e-7. Beyond the edge a Phi(-a) is less than that. NaN stays NaN.
  PLANISH_INLINE static Vec of(Vec x) {
    constexpr float kEdge = 5.5F;
    constexpr float kCoefficients[] = {3.236409e-06F,   -3.5671063e-05F, -4.0023468e-05F, 0.0016305957F,
                                       -0.00079278054F, -0.031866323F,   -0.09147212F,    0.9170052F};
    Vec a = reinterpret_cast<Vec>(reinterpret_cast<Bits>(x) & INT32_MAX);
    a = min(Vec{} + kEdge, a);
    Vec root = Vec{} + kCoefficients[0];
#pragma GCC unroll 8
    for (size_t i = 1; i < sizeof(kCoefficients) / sizeof(float); ++i) root = root * a + kCoefficients[i];
    root *= root;
    root *= root;
    return max(Vec{}, x) - a * (root * root);
  }
};

}  // namespace
}  // namespace planish::kernels
