#pragma once

// The loops behind every instruction set; included by one file per instruction set and nothing else.

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/base/simd/math.h"
#include "planish/kernels/cpu/recurrent/recurrent.h"

namespace planish::kernels {
namespace {

/// W floats per vector; R rows by C panels are summed in registers, a single row by S panels.
template <int W, int R, int C, int S>
struct Recurrent {
  typedef float Vec __attribute__((vector_size(W * sizeof(float))));
  static constexpr int kVectors = static_cast<int>(kRecurrentPanel) / W;

  PLANISH_INLINE static Vec load(const float* p) {
    Vec v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
  }
  PLANISH_INLINE static void store(float* p, Vec v) { __builtin_memcpy(p, &v, sizeof(v)); }

  template <int kRows, int kPanels>
  PLANISH_INLINE static void tile(const RecurrentProduct& p, int64_t row, int64_t panel) {
    const float* x = p.x + row * p.x_row;
    const float* w = p.w + panel * p.depth * kRecurrentPanel;
    const float* from = p.from + row * p.from_row + panel * kRecurrentPanel;
    float* y = p.y + row * p.y_row + panel * kRecurrentPanel;
    Vec acc[kRows][kPanels * kVectors];
    for (int r = 0; r < kRows; ++r)
      for (int v = 0; v < kPanels * kVectors; ++v) acc[r][v] = load(from + r * p.from_row + v * W);
    for (int64_t k = 0; k < p.depth; ++k)
      for (int c = 0; c < kPanels; ++c)
        for (int v = 0; v < kVectors; ++v) {
          const Vec weights = load(w + (c * p.depth + k) * kRecurrentPanel + v * W);
          for (int r = 0; r < kRows; ++r) acc[r][c * kVectors + v] += x[r * p.x_row + k] * weights;
        }
    for (int r = 0; r < kRows; ++r)
      for (int v = 0; v < kPanels * kVectors; ++v) store(y + r * p.y_row + v * W, acc[r][v]);
  }

  /// All rows of `kPanels` panels: the panels stay in the second-level cache meanwhile.
  template <int kPanels>
  PLANISH_INLINE static void strip(const RecurrentProduct& p, int64_t panel) {
    int64_t row = 0;
    for (; row + R <= p.rows; row += R) tile<R, kPanels>(p, row, panel);
    for (; row + 2 <= p.rows; row += 2) tile<2, kPanels>(p, row, panel);
    for (; row < p.rows; ++row) tile<1, kPanels>(p, row, panel);
  }

  static void product(const RecurrentProduct& p) {
    int64_t panel = 0;
    if (p.rows == 1)
      for (; panel + S <= p.panels; panel += S) tile<1, S>(p, 0, panel);
    for (; panel + C <= p.panels; panel += C) strip<C>(p, panel);
    for (; panel < p.panels; ++panel) strip<1>(p, panel);
  }

  static void lstm(int64_t n, const float* i, const float* o, const float* f, const float* g, const float* c_before,
                   float* c, float* h) {
#pragma GCC ivdep
    for (int64_t k = 0; k < n; ++k) {
      const float cell = simd::sigmoid_f32(f[k]) * c_before[k] + simd::sigmoid_f32(i[k]) * simd::tanh_f32(g[k]);
      c[k] = cell;
      h[k] = simd::sigmoid_f32(o[k]) * simd::tanh_f32(cell);
    }
  }

  static void gated(int64_t n, const float* x, const float* a, float* out) {
#pragma GCC ivdep
    for (int64_t k = 0; k < n; ++k) out[k] = a[k] * simd::sigmoid_f32(x[k]);
  }

  static void gru(int64_t n, const float* update, const float* candidate, const float* h_before, float* h) {
#pragma GCC ivdep
    for (int64_t k = 0; k < n; ++k) {
      const float z = simd::sigmoid_f32(update[k]);
      h[k] = (1.0F - z) * simd::tanh_f32(candidate[k]) + z * h_before[k];
    }
  }

  static void tanh(int64_t n, const float* x, float* y) {
#pragma GCC ivdep
    for (int64_t k = 0; k < n; ++k) y[k] = simd::tanh_f32(x[k]);
  }
};

template <typename V>
constexpr RecurrentKernels recurrent_row(std::string_view name, Isa isa) {
  return {name, isa, V::product, V::lstm, V::gated, V::gru, V::tanh};
}

}  // namespace
}  // namespace planish::kernels
