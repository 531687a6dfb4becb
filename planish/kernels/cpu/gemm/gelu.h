#pragma once

#include <cstddef>
#include <cstdint>

#include "planish/base/macros.h"
#include "planish/base/simd/math.h"

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

  /// As simd::gelu_f32. NaN stays NaN.
  PLANISH_INLINE static Vec of(Vec x) {
    Vec a = reinterpret_cast<Vec>(reinterpret_cast<Bits>(x) & INT32_MAX);
    a = min(Vec{} + simd::kGeluEdge, a);
    Vec root = Vec{} + simd::kGeluRoot[0];
#pragma GCC unroll 8
    for (size_t i = 1; i < sizeof(simd::kGeluRoot) / sizeof(float); ++i) root = root * a + simd::kGeluRoot[i];
    root *= root;
    root *= root;
    return max(Vec{}, x) - a * (root * root);
  }
};

}  // namespace
}  // namespace planish::kernels
