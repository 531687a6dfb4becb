#pragma once

// The loops behind every instruction set; included by one file per instruction set and nothing else.

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/base/simd/unroll.h"
#include "planish/kernels/cpu/float_epilogue/generic.h"
#include "planish/kernels/cpu/panel_conv/panel_conv.h"

namespace planish::kernels {
namespace {

/// S: vectors of base/simd. kMost...: pixels per step for panels of 1, 2, ... vectors, as many as the sums' registers
/// allow.
template <typename S, int... kMost>
struct PanelConv {
  using F = typename S::F;
  static constexpr int W = S::kLanes;
  static constexpr int kPanel = sizeof...(kMost);
  static constexpr int kSecondLevel = 2;  ///< cache, as __builtin_prefetch numbers them

  static constexpr int most(int vectors) {
    constexpr int kPixels[] = {kMost...};
    return kPixels[vectors - 1];
  }

  /// Neighbouring output pixels of one line, and the taps that are inside the image for all of them.
  struct Run {
    const float* x;  ///< where tap (0, 0) of the first pixel looks, be it inside or not
    float* y;
    const float* residual;
    int64_t r_begin, r_end, s_begin, s_end;
    const float* later;  ///< weights to fetch, `later_step` of them with every number of a tap
    int64_t later_step;
    bool begins, ends;  ///< with the first tap, with the last
  };

  /// Weights that are fetched while others are multiplied, a share with every number of every tap.
  struct Later {
    const float* at;
    const float* end;
    int64_t step;

    /// `none` stands for no weights: something that is in the first-level cache.
    Later(const PanelConvPart& part, const float* none, int64_t numbers)
        : at(part.later != nullptr ? part.later : none), end(at + part.later_floats), step(0) {
      // Several fetches of a line cost more than being through with all of them early.
      constexpr int64_t kLeast = 4;
      if (part.later_floats > 0) step = (part.later_floats + numbers - 1) / numbers;
      if (step > 0 && step < kLeast) step = kLeast;
    }
    void advance(int64_t numbers) {
      at += step * numbers;
      if (at >= end) step = 0;
    }
  };

  /// One tap: all channels of the pixels at `tap`, which lie `advance` apart.
  template <int kRows, int kCols>
  PLANISH_INLINE static void accumulate_tap(const PanelConvProblem& p, const float* tap, int64_t advance,
                                            const float* w, const float*& later, int64_t later_step,
                                            F (&acc)[kRows][kCols]) {
    using simd::unroll;
    // Three pixels share a pointer: they lie `advance` apart, which addressing modes multiply by 1 and 2 for free.
    constexpr int kPointers = (kRows + 2) / 3;
    for (int64_t piece = 0; piece < p.chunks; ++piece, tap += p.x_chunk) {
      const float* pixel[kPointers];
      unroll<kPointers>([&](auto i) __attribute__((always_inline)) { pixel[i] = tap + 3 * i * advance; });
      const int64_t numbers = piece + 1 < p.chunks ? p.chunk : p.last_chunk;
      for (int64_t k = 0; k < numbers; ++k) {
        F b[kCols];
        unroll<kCols>([&](auto c) __attribute__((always_inline)) { b[c] = S::load(w + c * W); });
        w += int64_t{kCols} * W;
        __builtin_prefetch(later, 0, kSecondLevel);
        later += later_step;
        unroll<kRows>([&](auto i) __attribute__((always_inline)) {
          const float* at = pixel[i / 3] + i % 3 * advance;
          const F a = S::set1(*at);
          unroll<kCols>([&](auto c) __attribute__((always_inline)) { acc[i][c] = S::fma(a, b[c], acc[i][c]); });
        });
        unroll<kPointers>([&](auto i) __attribute__((always_inline)) { ++pixel[i]; });
      }
    }
  }

  template <int kRows, int kCols>
  PLANISH_INLINE static void accumulate(const PanelConvProblem& p, const Run& run, const float* weights,
                                        F (&acc)[kRows][kCols]) {
    const int64_t tap_floats = p.channels() * kCols * W;
    const float* later = run.later;
    for (int64_t r = run.r_begin; r < run.r_end; ++r)
      for (int64_t s = run.s_begin; s < run.s_end; ++s)
        accumulate_tap(p, run.x + r * p.dilation_h * p.x_row + s * p.dilation_w * p.x_pixel, p.stride_w * p.x_pixel,
                       weights + (r * p.kernel_w + s) * tap_floats, later, run.later_step, acc);
  }

  /// kOneTap: the window is one pixel, which is inside.
  template <bool kOneTap, int kRows, int kCols>
  static void tile(const PanelConvProblem& p, const Run& run, int64_t vector, const float* weights,
                   const FloatEpilogue& e) {
    F acc[kRows][kCols];
    const auto each = [](auto f) __attribute__((always_inline)) {
      simd::unroll<kRows>([&](auto i) __attribute__((always_inline)) {
        simd::unroll<kCols>([&](auto c) __attribute__((always_inline)) { f(i, c); });
      });
    };
    // Padding filters of whole vectors are stored too.
    const int64_t exist = p.whole_vectors ? int64_t{kCols} * W : p.filters - vector * W;
    const auto at = [&](auto i, auto c) __attribute__((always_inline)) {
      return run.y + i * p.y_pixel + c * p.y_vector;
    };
    if (kOneTap || run.begins)
      FloatTile<S>::begin(e, vector * W, exist, acc);
    else
      each([&](auto i, auto c)
               __attribute__((always_inline)) { acc[i][c] = FloatTile<S>::load(at(i, c), exist - c * W); });
    if constexpr (kOneTap) {
      const float* later = run.later;
      accumulate_tap(p, run.x, p.stride_w * p.x_pixel, weights, later, run.later_step, acc);
    } else {
      accumulate(p, run, weights, acc);
    }
    if (!kOneTap && !run.ends)
      return each([&](auto i, auto c)
                      __attribute__((always_inline)) { FloatTile<S>::store(at(i, c), acc[i][c], exist - c * W); });
    FloatTile<S>::template finish<kRows, kCols>(e, {run.y, run.residual, p.y_pixel, p.y_vector, exist}, acc);
  }

  template <bool kOneTap, int kRows, int kCols>
  static void tile_of(int64_t rows, const PanelConvProblem& p, const Run& run, int64_t vector, const float* weights,
                      const FloatEpilogue& e) {
    if constexpr (kRows > 0) {
      if (rows == kRows) return tile<kOneTap, kRows, kCols>(p, run, vector, weights, e);
      return tile_of<kOneTap, kRows - 1, kCols>(rows, p, run, vector, weights, e);
    }
  }

  /// A whole line, or a part of it: pixels [j, end) of output line `i`.
  template <bool kOneTap, int kCols>
  PLANISH_INLINE static void line(const PanelConvProblem& p, const PanelConvPart& part, int64_t image, int64_t i,
                                  int64_t j, int64_t end, const float* x, const float* weights, const FloatEpilogue& e,
                                  Later& later, float* y) {
    constexpr int kMostRows = most(kCols);
    const int64_t top = i * p.stride_h - p.pad_top;
    const int64_t offset = image * p.y_image + i * p.y_row + part.vector * p.y_vector;
    Run run;
    inside(top, p.in_h, p.kernel_h, p.dilation_h, run.r_begin, run.r_end);
    if (run.r_begin < part.tap_row) run.r_begin = part.tap_row;
    if (run.r_end > part.last_tap_row) run.r_end = part.last_tap_row;
    if (run.r_end < run.r_begin) run.r_end = run.r_begin;
    run.begins = part.tap_row == 0;
    run.ends = part.last_tap_row >= p.kernel_h;
    const float* line = x + image * p.x_image + top * p.x_row;
    const auto pixels = [&](int64_t count) __attribute__((always_inline)) {
      const int64_t at = offset + j * p.y_pixel;
      run.x = line + (j * p.stride_w - p.pad_left) * p.x_pixel;
      run.y = y + at;
      run.residual = e.residual != nullptr ? e.residual + at : nullptr;
      run.later = later.at;
      run.later_step = later.step;
      tile_of<kOneTap, kMostRows, kCols>(count, p, run, part.vector, weights, e);
      later.advance((run.r_end - run.r_begin) * (run.s_end - run.s_begin) * p.channels());
      j += count;
    };
    const auto border = [&](int64_t until) __attribute__((always_inline)) {
      while (j < until) {
        inside(j * p.stride_w - p.pad_left, p.in_w, p.kernel_w, p.dilation_w, run.s_begin, run.s_end);
        pixels(1);
      }
    };
    // Pixels [first, last) have their whole window inside.
    const int64_t first = (p.pad_left + p.stride_w - 1) / p.stride_w;
    const int64_t room = p.in_w + p.pad_left - (p.kernel_w - 1) * p.dilation_w;
    const int64_t last = room <= 0 ? 0 : (room + p.stride_w - 1) / p.stride_w;
    border(first < end ? first : end);
    const int64_t count = (last < end ? last : end) - j;
    if (count > 0) {
      run.s_begin = 0;
      run.s_end = p.kernel_w;
      const int64_t tiles = (count + kMostRows - 1) / kMostRows;
      const int64_t rows = count / tiles;
      const int64_t wider = j + count % tiles * (rows + 1);
      const int64_t stop = j + count;
      while (j < wider) pixels(rows + 1);
      while (j < stop) pixels(rows);
    }
    border(end);
  }

  /// The taps [begin, end) that fall inside [0, size) when the first looks at `at`.
  PLANISH_INLINE static void inside(int64_t at, int64_t size, int64_t taps, int64_t dilation, int64_t& begin,
                                    int64_t& end) {
    begin = at < 0 ? (-at + dilation - 1) / dilation : 0;
    const int64_t room = size - at;
    const int64_t fit = room <= 0 ? 0 : (room + dilation - 1) / dilation;
    end = fit < taps ? fit : taps;
  }

  /// Steps that the pixels of a part take, roughly.
  PLANISH_INLINE static int64_t tiles_of(const PanelConvProblem& p, int64_t pixels, int64_t most) {
    if (p.taps() == 1) return (pixels + most - 1) / most;
    return (pixels + p.out_w - 1) / p.out_w * ((p.out_w + most - 1) / most + (p.pad_left > 0 ? 2 : 0));
  }

  template <bool kOneTap, int kCols>
  static void lines(const PanelConvProblem& p, const PanelConvPart& part, const float* x, const float* weights,
                    const FloatEpilogue& e, float* y) {
    const int64_t tap_rows = (part.last_tap_row < p.kernel_h ? part.last_tap_row : p.kernel_h) - part.tap_row;
    Later later(part, weights, tiles_of(p, part.pixels, most(kCols)) * tap_rows * p.kernel_w * p.channels());
    const int64_t last = part.pixel + part.pixels;
    for (int64_t at = part.pixel; at < last;) {
      const int64_t i = at / p.out_w;
      const int64_t j = at % p.out_w;
      const int64_t end = last - at < p.out_w - j ? j + last - at : p.out_w;
      line<kOneTap, kCols>(p, part, i / p.out_h, i % p.out_h, j, end, x, weights, e, later, y);
      at += end - j;
    }
  }

  template <int kCols>
  static void columns_of(const PanelConvProblem& p, const PanelConvPart& part, const float* x, const float* weights,
                         const FloatEpilogue& e, float* y) {
    if constexpr (kCols > 0) {
      if (part.vectors != kCols) return columns_of<kCols - 1>(p, part, x, weights, e, y);
      if (p.taps() == 1 && p.pad_top == 0 && p.pad_left == 0 && (p.out_h - 1) * p.stride_h < p.in_h &&
          (p.out_w - 1) * p.stride_w < p.in_w)
        return lines<true, kCols>(p, part, x, weights, e, y);
      lines<false, kCols>(p, part, x, weights, e, y);
    }
  }

  static void run(const PanelConvProblem& p, const PanelConvPart& part, const float* x, const float* weights,
                  const FloatEpilogue& e, float* y) {
    columns_of<kPanel>(p, part, x, weights, e, y);
  }

  /// `vectors`: per panel of convolutions that look at one pixel.
  static constexpr PanelConvKernel row(std::string_view name, Isa isa, int64_t vectors = kPanel) {
    return {name, isa, W, vectors, kPanel, run};
  }
};

}  // namespace
}  // namespace planish::kernels
