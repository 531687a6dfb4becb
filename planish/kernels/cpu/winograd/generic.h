#pragma once

// The loops behind every instruction set; included by one file per instruction set and nothing else.

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/base/simd/unroll.h"
#include "planish/kernels/cpu/float_epilogue/generic.h"
#include "planish/kernels/cpu/winograd/transforms.h"
#include "planish/kernels/cpu/winograd/winograd.h"

namespace planish::kernels {
namespace {

/// Output tiles of M x M, W floats per vector, R tiles and C vectors of filters per step of the product. S: vectors of
/// base/simd for activations, of W floats or a divisor of M^2 W.
template <typename S, int M, int R, int C, int W = S::kLanes>
struct Winograd {
  static constexpr int kSide = M + 2;
  static constexpr int kPoints = kSide * kSide;
  static constexpr int64_t kBlock = int64_t{W} * C;
  static constexpr int kSecondLevel = 2;  ///< cache that weights are fetched into, as __builtin_prefetch numbers them
  typedef float Vec __attribute__((vector_size(W * sizeof(float))));
  using Form = WinogradTransform<M>;

  PLANISH_INLINE static Vec load(const float* p) {
    Vec v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
  }
  PLANISH_INLINE static void store(float* p, Vec v) { __builtin_memcpy(p, &v, sizeof(v)); }

  struct Place {
    int64_t image, y, x;  ///< of the tile's first output pixel
  };
  PLANISH_INLINE static Place place_of(const WinogradProblem& p, int64_t tile) {
    const int64_t per_image = p.tiles_h * p.tiles_w;
    const int64_t within = tile % per_image;
    return {tile / per_image, within / p.tiles_w * M, within % p.tiles_w * M};
  }

  // --- input ----------------------------------------------------------------------------------------------------

  /// One vector of channels of one tile. `read(i, j)` gives the pixel at row i, column j of the patch.
  template <typename Read>
  PLANISH_INLINE static void transform_patch(Read read, float* v, int64_t point_stride) {
    Vec t[kSide][kSide];
    for (int j = 0; j < kSide; ++j) {
      Vec column[kSide];
      for (int i = 0; i < kSide; ++i) column[i] = read(i, j);
      Vec out[kSide];
      Form::input(column, out);
      for (int i = 0; i < kSide; ++i) t[i][j] = out[i];
    }
    for (int i = 0; i < kSide; ++i) {
      Vec out[kSide];
      Form::input(t[i], out);
      for (int j = 0; j < kSide; ++j) store(v + (i * kSide + j) * point_stride, out[j]);
    }
  }

  static void transform_input(const WinogradProblem& p, const WinogradImages& form, const float* x, int64_t first,
                              int64_t tiles, float* v, int64_t v_tiles) {
    const int64_t point_stride = v_tiles * p.channels;
    for (int64_t n = 0; n < tiles; ++n) {
      const Place at = place_of(p, first + n);
      const int64_t y0 = at.y - p.pad_top;
      const int64_t x0 = at.x - p.pad_left;
      const bool inside = y0 >= 0 && x0 >= 0 && y0 + kSide <= p.in_h && x0 + kSide <= p.in_w;
      const float* corner = x + at.image * form.image + y0 * form.row + x0 * form.pixel;
      for (int64_t c = 0; c < p.channels; c += W) {
        const float* patch = corner + form.vectors[c / W];
        float* to = v + n * p.channels + c;
        if (inside) {
          transform_patch([&](int i, int j) { return load(patch + i * form.row + j * form.pixel); }, to, point_stride);
        } else {
          transform_patch(
              [&](int i, int j) {
                const bool in = y0 + i >= 0 && y0 + i < p.in_h && x0 + j >= 0 && x0 + j < p.in_w;
                return in ? load(patch + i * form.row + j * form.pixel) : Vec{};
              },
              to, point_stride);
        }
      }
    }
  }

  // --- products -------------------------------------------------------------------------------------------------

  /// Weights that are needed later: every channel of a product fetches `floats` of them.
  struct Later {
    const float* at;
    int64_t floats;
  };

  template <int kRows, int kCols>
  PLANISH_INLINE static void product(const float* v, int64_t channels, const float* u, Later later, float* m,
                                     int64_t m_row) {
    using simd::unroll;
    Vec acc[kRows][kCols];
    unroll<kRows>([&](auto r) __attribute__((always_inline)) {
      unroll<kCols>([&](auto j) __attribute__((always_inline)) { acc[r][j] = Vec{}; });
    });
    // Three rows share a pointer: rows lie `channels` apart, which addressing modes multiply by 1 and 2 for free.
    constexpr int kPointers = (kRows + 2) / 3;
    const float* row[kPointers];
    unroll<kPointers>([&](auto i) __attribute__((always_inline)) { row[i] = v + 3 * i * channels; });
    for (int64_t c = 0; c < channels; ++c) {
      Vec b[kCols];
      unroll<kCols>([&](auto j) __attribute__((always_inline)) { b[j] = load(u + j * W); });
      u += kCols * W;
      __builtin_prefetch(later.at, 0, kSecondLevel);
      later.at += later.floats;
      unroll<kRows>([&](auto r) __attribute__((always_inline)) {
        const float a = row[r / 3][r % 3 * channels];
        unroll<kCols>([&](auto j) __attribute__((always_inline)) { acc[r][j] += a * b[j]; });
      });
      unroll<kPointers>([&](auto i) __attribute__((always_inline)) { ++row[i]; });
    }
    unroll<kRows>([&](auto r) __attribute__((always_inline)) {
      unroll<kCols>([&](auto j) __attribute__((always_inline)) { store(m + r * m_row + j * W, acc[r][j]); });
    });
  }

  template <int kRows, int kCols>
  static void rows_of(int64_t rows, const float* v, int64_t channels, const float* u, Later later, float* m,
                      int64_t m_row) {
    if constexpr (kRows > 0) {
      if (rows == kRows) return product<kRows, kCols>(v, channels, u, later, m, m_row);
      return rows_of<kRows - 1, kCols>(rows, v, channels, u, later, m, m_row);
    }
  }

  /// Weights of one point are multiplied while those of the next come out of memory, which otherwise waits until they
  /// are needed: every step fetches its share. Behind the last point lie those of the next block.
  template <int kCols>
  static void multiply_columns(const WinogradProblem& p, const float* u, const float* v, int64_t tiles, float* m) {
    const int64_t filters = int64_t{kCols} * W;
    const int64_t panel = p.channels * filters;
    const int64_t steps = (tiles + R - 1) / R;
    const int64_t share = (filters + steps - 1) / steps;
    for (int point = 0; point < kPoints; ++point) {
      const float* up = u + point * panel;
      const float* vp = v + point * tiles * p.channels;
      float* mp = m + point * tiles * filters;
      for (int64_t s = 0, at = 0; s < steps; ++s) {
        const int64_t end = tiles * (s + 1) / steps;
        const Later later{up + panel + s * share * p.channels, share};
        rows_of<R, kCols>(end - at, vp + at * p.channels, p.channels, up, later, mp + at * filters, filters);
        at = end;
      }
    }
  }

  template <int kCols>
  static void columns_of(int64_t columns, const WinogradProblem& p, const float* u, const float* v, int64_t tiles,
                         float* m) {
    if constexpr (kCols > 0) {
      if (columns == kCols) return multiply_columns<kCols>(p, u, v, tiles, m);
      return columns_of<kCols - 1>(columns, p, u, v, tiles, m);
    }
  }

  static void multiply(const WinogradProblem& p, const float* u, const float* v, int64_t tiles, int64_t filters,
                       float* m) {
    columns_of<C>(filters / W, p, u, v, tiles, m);
  }

  // --- output ---------------------------------------------------------------------------------------------------

  /// One tile and one vector of filters: calls put(i, j, vector) for the M^2 pixels.
  template <typename Put>
  PLANISH_INLINE static void transform_products(const float* m, int64_t point_stride, Vec bias, Put put) {
    Vec t[M][kSide];
    for (int j = 0; j < kSide; ++j) {
      Vec column[kSide];
      for (int i = 0; i < kSide; ++i) column[i] = load(m + (i * kSide + j) * point_stride);
      Vec rows[M];
      Form::output(column, rows);
      for (int i = 0; i < M; ++i) t[i][j] = rows[i];
    }
    for (int i = 0; i < M; ++i) {
      Vec pixels[M];
      Form::output(t[i], pixels);
      for (int j = 0; j < M; ++j) put(i, j, pixels[j] + bias);
    }
  }

  PLANISH_INLINE static Vec bounded(Vec x, const FloatEpilogue& e) {
    x = x < e.low ? Vec{} + e.low : x;
    return x > e.high ? Vec{} + e.high : x;
  }

  static void transform_output(const WinogradProblem& p, const WinogradImages& form, const float* m, int64_t first,
                               int64_t tiles, int64_t first_filter, int64_t filters, const FloatEpilogue& e, float* y) {
    const int64_t point_stride = tiles * filters;
    for (int64_t n = 0; n < tiles; ++n) {
      const Place at = place_of(p, first + n);
      const int64_t h = p.out_h - at.y < M ? p.out_h - at.y : M;
      const int64_t w = p.out_w - at.x < M ? p.out_w - at.x : M;
      const int64_t corner = at.image * form.image + at.y * form.row + at.x * form.pixel;
      const bool direct = h == M && w == M && e.act == FloatEpilogue::Act::clamp && e.residual == nullptr;
      for (int64_t k = 0; k < filters; k += W) {
        const int64_t filter = first_filter + k;
        const Vec bias = e.bias != nullptr ? load(e.bias + filter) : Vec{};
        const float* products = m + n * filters + k;
        const int64_t offset = corner + form.vectors[filter / W];
        if (direct) {
          transform_products(
              products, point_stride, bias, [&](int i, int j, Vec v) __attribute__((always_inline)) {
                store(y + offset + i * form.row + j * form.pixel, bounded(v, e));
              });
          continue;
        }
        alignas(64) float pixels[M * M * W];
        transform_products(
            products, point_stride,
            bias, [&](int i, int j, Vec v) __attribute__((always_inline)) { store(pixels + (i * M + j) * W, v); });
        if (e.residual != nullptr && !e.residual_last) add_residual(e.residual + offset, form, h, w, pixels);
        FloatActivation<S>::apply(e, pixels, M * M * W);
        if (e.residual != nullptr && e.residual_last) add_residual(e.residual + offset, form, h, w, pixels);
        for (int64_t i = 0; i < h; ++i)
          for (int64_t j = 0; j < w; ++j)
            store(y + offset + i * form.row + j * form.pixel, load(pixels + (i * M + j) * W));
      }
    }
  }

  PLANISH_INLINE static void add_residual(const float* residual, const WinogradImages& form, int64_t h, int64_t w,
                                          float* pixels) {
    for (int64_t i = 0; i < h; ++i)
      for (int64_t j = 0; j < w; ++j) {
        float* pixel = pixels + (i * M + j) * W;
        store(pixel, load(pixel) + load(residual + i * form.row + j * form.pixel));
      }
  }

  static constexpr WinogradKernel row(std::string_view name, Isa isa) {
    return {name, isa, M, W, kBlock, R, kPoints, transform_input, multiply, transform_output};
  }
};

}  // namespace
}  // namespace planish::kernels
