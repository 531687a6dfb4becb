#pragma once

// The one-dimensional transforms of minimal filtering, F(2,3) and F(4,3), on numbers or vectors of them. Interpolation
// points 0, 1, -1, infinity, and 2, -2 for F(4,3) (Lavin and Gray 2015, section 4.3).

#include "planish/base/macros.h"

namespace planish::kernels {
namespace {

template <int M>
struct WinogradTransform;

template <>
struct WinogradTransform<2> {
  template <typename T>
  PLANISH_INLINE static void input(const T* d, T* out) {
    out[0] = d[0] - d[2];
    out[1] = d[1] + d[2];
    out[2] = d[2] - d[1];
    out[3] = d[1] - d[3];
  }
  template <typename T>
  PLANISH_INLINE static void output(const T* m, T* out) {
    out[0] = m[0] + m[1] + m[2];
    out[1] = m[1] - m[2] - m[3];
  }
  template <typename T>
  PLANISH_INLINE static void weight(T g0, T g1, T g2, T* out) {
    out[0] = g0;
    out[1] = (g0 + g1 + g2) / 2.0;
    out[2] = (g0 - g1 + g2) / 2.0;
    out[3] = g2;
  }
  static void unweight(const double* u, double* g) {
    g[0] = u[0];
    g[1] = u[1] - u[2];
    g[2] = u[3];
  }
};

template <>
struct WinogradTransform<4> {
  template <typename T>
  PLANISH_INLINE static void input(const T* d, T* out) {
    const T even = d[4] - 4.0F * d[2];
    const T odd = d[3] - 4.0F * d[1];
    const T even2 = d[4] - d[2];
    const T odd2 = 2.0F * (d[3] - d[1]);
    out[0] = 4.0F * d[0] - 5.0F * d[2] + d[4];
    out[1] = even + odd;
    out[2] = even - odd;
    out[3] = even2 + odd2;
    out[4] = even2 - odd2;
    out[5] = 4.0F * d[1] - 5.0F * d[3] + d[5];
  }
  template <typename T>
  PLANISH_INLINE static void output(const T* m, T* out) {
    const T sum1 = m[1] + m[2];
    const T difference1 = m[1] - m[2];
    const T sum2 = m[3] + m[4];
    const T difference2 = m[3] - m[4];
    out[0] = m[0] + sum1 + sum2;
    out[1] = difference1 + 2.0F * difference2;
    out[2] = sum1 + 4.0F * sum2;
    out[3] = difference1 + 8.0F * difference2 + m[5];
  }
  template <typename T>
  PLANISH_INLINE static void weight(T g0, T g1, T g2, T* out) {
    const T outer = (g0 + g2) * (-1.0 / 6.0);
    const T middle = g1 * (1.0 / 6.0);
    const T even = g0 * (1.0 / 24.0) + g2 * (1.0 / 6.0);
    const T odd = g1 * (1.0 / 12.0);
    out[0] = g0 * 0.25;
    out[1] = outer - middle;
    out[2] = outer + middle;
    out[3] = even + odd;
    out[4] = even - odd;
    out[5] = g2;
  }
  static void unweight(const double* u, double* g) {
    g[0] = u[0] * 4;
    g[1] = 3 * (u[2] - u[1]);
    g[2] = u[5];
  }
};

}  // namespace
}  // namespace planish::kernels
