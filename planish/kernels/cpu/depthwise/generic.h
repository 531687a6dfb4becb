#pragma once

// The loops behind every instruction set; included by one file per instruction set and nothing else.

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/base/simd/unroll.h"
#include "planish/kernels/cpu/depthwise/depthwise.h"
#include "planish/kernels/cpu/float_epilogue/generic.h"

namespace planish::kernels {
namespace {

/// S: vectors of base/simd. kMost: pixels per step, as many as the sums' registers allow.
template <typename S, int kMost>
struct Depthwise {
  using F = typename S::F;
  static constexpr int W = S::kLanes;
  /// Pixels at either end of a step that may look beyond the border.
  static constexpr int kEdge = 2;
  /// Lines of more than kMost pixels are cut evenly, so that no step is shorter than about half of kMost.
  static constexpr int kLeast = kMost / 2 > 2 * kEdge ? kMost / 2 : 2 * kEdge;

  struct Line {
    const float* x;  ///< tap (0, 0) of output pixel 0, be it inside or not
    const float* weights;
    int64_t r_begin, r_end;  ///< taps inside the image
    int64_t channel;
    int64_t exist;   ///< channels in the vector
    int64_t offset;  ///< of the output line in y
  };

  /// Any window and layout. kBorder: the outer pixels read zeros where they look beyond the border.
  template <int kPixels, bool kBorder>
  static void tile(const DepthwiseProblem& p, const Line& line, int64_t j, const float* zeros, const FloatEpilogue& e,
                   float* y) {
    using simd::unroll;
    const int64_t advance = p.stride_w * p.x_pixel;
    constexpr int kPointers = (kPixels + 2) / 3;
    F acc[kPixels][1];
    FloatTile<S>::begin(e, line.channel, line.exist, acc);
    const int64_t left = j * p.stride_w - p.pad_left;
    const float* w = line.weights + line.r_begin * p.kernel_w * W;
    for (int64_t r = line.r_begin; r < line.r_end; ++r) {
      const float* row = line.x + r * p.dilation_h * p.x_row + j * advance;
      for (int64_t s = 0; s < p.kernel_w; ++s, w += W, row += p.dilation_w * p.x_pixel) {
        const F b = S::load(w);
        const float* pixel[kPointers];
        unroll<kPointers>([&](auto i) __attribute__((always_inline)) { pixel[i] = row + 3 * i * advance; });
        unroll<kPixels>([&](auto i) __attribute__((always_inline)) {
          const float* from = pixel[i / 3] + i % 3 * advance;
          if constexpr (kBorder && (i < kEdge || i >= kPixels - kEdge)) {
            const int64_t at = left + i * p.stride_w + s * p.dilation_w;
            from = at >= 0 && at < p.in_w ? from : zeros;
          }
          acc[i][0] = S::fma(S::load(from), b, acc[i][0]);
        });
      }
    }
    const int64_t at = line.offset + j * p.y_pixel;
    const float* residual = e.residual != nullptr ? e.residual + at : nullptr;
    FloatTile<S>::template finish<kPixels, 1>(e, {y + at, residual, p.y_pixel, 0, line.exist}, acc);
  }

  /// The same for blocked images and windows known at compile time: an input pixel is loaded once per line of taps and
  /// serves all outputs that look at it.
  template <int kPixels, int kTaps, int kStride, bool kBorder>
  static void window_tile(const DepthwiseProblem& p, const Line& line, int64_t j, const float* zeros,
                          const FloatEpilogue& e, float* y) {
    using simd::unroll;
    constexpr int kColumns = (kPixels - 1) * kStride + kTaps;
    F acc[kPixels][1];
    FloatTile<S>::begin(e, line.channel, line.exist, acc);
    const int64_t left = j * kStride - p.pad_left;
    const float* w = line.weights + line.r_begin * kTaps * W;
    const float* row = line.x + line.r_begin * p.dilation_h * p.x_row + j * kStride * W;
    for (int64_t r = line.r_begin; r < line.r_end; ++r, w += kTaps * W, row += p.dilation_h * p.x_row) {
      F b[kTaps];
      unroll<kTaps>([&](auto s) __attribute__((always_inline)) { b[s] = S::load(w + s * W); });
      unroll<kColumns>([&](auto c) __attribute__((always_inline)) {
        const float* from = row + c * W;
        if constexpr (kBorder && (c < kEdge || c >= kColumns - kEdge))
          from = left + c >= 0 && left + c < p.in_w ? from : zeros;
        const F v = S::load(from);
        unroll<kTaps>([&](auto s) __attribute__((always_inline)) {
          constexpr int kAt = c - s;
          if constexpr (kAt >= 0 && kAt % kStride == 0 && kAt / kStride < kPixels)
            acc[kAt / kStride][0] = S::fma(v, b[s], acc[kAt / kStride][0]);
        });
      });
    }
    const int64_t at = line.offset + j * p.y_pixel;
    const float* residual = e.residual != nullptr ? e.residual + at : nullptr;
    FloatTile<S>::template finish<kPixels, 1>(e, {y + at, residual, p.y_pixel, 0, line.exist}, acc);
  }

  /// One pixel wherever its window lies.
  static void pixel(const DepthwiseProblem& p, const Line& line, int64_t j, const FloatEpilogue& e, float* y) {
    F acc[1][1];
    FloatTile<S>::begin(e, line.channel, line.exist, acc);
    for (int64_t r = line.r_begin; r < line.r_end; ++r)
      for (int64_t s = 0; s < p.kernel_w; ++s) {
        const int64_t at = j * p.stride_w - p.pad_left + s * p.dilation_w;
        if (at < 0 || at >= p.in_w) continue;
        const float* from = line.x + r * p.dilation_h * p.x_row + (at + p.pad_left) * p.x_pixel;
        acc[0][0] = S::fma(S::load(from), S::load(line.weights + (r * p.kernel_w + s) * W), acc[0][0]);
      }
    const int64_t at = line.offset + j * p.y_pixel;
    const float* residual = e.residual != nullptr ? e.residual + at : nullptr;
    FloatTile<S>::template finish<1, 1>(e, {y + at, residual, p.y_pixel, 0, line.exist}, acc);
  }

  /// kTaps: 0 for windows only known at run time.
  template <int kPixels, int kTaps, int kStride>
  PLANISH_INLINE static void tile_of(int64_t pixels, bool border, const DepthwiseProblem& p, const Line& line,
                                     int64_t j, const float* zeros, const FloatEpilogue& e, float* y) {
    if constexpr (kPixels >= kLeast) {
      if (pixels != kPixels) return tile_of<kPixels - 1, kTaps, kStride>(pixels, border, p, line, j, zeros, e, y);
      if constexpr (kTaps > 0) {
        if (border) return window_tile<kPixels, kTaps, kStride, true>(p, line, j, zeros, e, y);
        return window_tile<kPixels, kTaps, kStride, false>(p, line, j, zeros, e, y);
      } else {
        if (border) return tile<kPixels, true>(p, line, j, zeros, e, y);
        return tile<kPixels, false>(p, line, j, zeros, e, y);
      }
    }
  }

  template <int kTaps, int kStride>
  static void lines(const DepthwiseProblem& p, const DepthwisePart& part, const float* x, const float* weights,
                    const FloatEpilogue& e, float* y) {
    alignas(64) static constexpr float kZeros[W] = {};
    // Output pixels [first, last) have all their taps inside.
    const int64_t first = (p.pad_left + p.stride_w - 1) / p.stride_w;
    const int64_t room = p.in_w + p.pad_left - (p.kernel_w - 1) * p.dilation_w;
    const int64_t last = room <= 0 ? 0 : (room + p.stride_w - 1) / p.stride_w;
    const int64_t tiles = (p.out_w + kMost - 1) / kMost;
    const int64_t pixels = p.out_w / tiles;
    const bool in_tiles = fits_tiles(p) && pixels >= kLeast;
    Line line;
    line.channel = part.vector * W;
    line.exist = p.whole_vectors ? W : p.channels - line.channel;
    line.weights = weights + part.vector * p.kernel_h * p.kernel_w * W;
    for (int64_t i = part.row; i < part.row + part.rows; ++i) {
      const int64_t top = i * p.stride_h - p.pad_top;
      inside(top, p.in_h, p.kernel_h, p.dilation_h, line.r_begin, line.r_end);
      line.x = x + part.image * p.x_image + part.vector * p.x_vector + top * p.x_row - p.pad_left * p.x_pixel;
      line.offset = part.image * p.y_image + part.vector * p.y_vector + i * p.y_row;
      if (!in_tiles) {
        for (int64_t j = 0; j < p.out_w; ++j) pixel(p, line, j, e, y);
        continue;
      }
      const int64_t wider = p.out_w % tiles;
      for (int64_t t = 0, j = 0; t < tiles; ++t) {
        const int64_t count = pixels + (t < wider ? 1 : 0);
        tile_of<kMost, kTaps, kStride>(count, j < first || j + count > last, p, line, j, kZeros, e, y);
        j += count;
      }
    }
  }

  /// The taps [begin, end) that fall inside [0, size) when the first looks at `at`.
  PLANISH_INLINE static void inside(int64_t at, int64_t size, int64_t taps, int64_t dilation, int64_t& begin,
                                    int64_t& end) {
    begin = at < 0 ? (-at + dilation - 1) / dilation : 0;
    const int64_t room = size - at;
    const int64_t fit = room <= 0 ? 0 : (room + dilation - 1) / dilation;
    end = fit < taps ? fit : taps;
  }

  /// True when no tile looks further beyond the border than its edges may.
  PLANISH_INLINE static bool fits_tiles(const DepthwiseProblem& p) {
    const int64_t right = (p.out_w - 1) * p.stride_w + (p.kernel_w - 1) * p.dilation_w + 1 - p.pad_left - p.in_w;
    return p.pad_left <= kEdge && right <= kEdge;
  }

  static void run(const DepthwiseProblem& p, const DepthwisePart& part, const float* x, const float* weights,
                  const FloatEpilogue& e, float* y) {
    if (p.x_pixel != W || p.dilation_w != 1 || p.stride_w > 2) return lines<0, 0>(p, part, x, weights, e, y);
    const bool one = p.stride_w == 1;
    switch (p.kernel_w) {
      case 3: return one ? lines<3, 1>(p, part, x, weights, e, y) : lines<3, 2>(p, part, x, weights, e, y);
      case 5: return one ? lines<5, 1>(p, part, x, weights, e, y) : lines<5, 2>(p, part, x, weights, e, y);
      default: return lines<0, 0>(p, part, x, weights, e, y);
    }
  }

  static constexpr DepthwiseKernel row(std::string_view name, Isa isa) { return {name, isa, W, run}; }
};

}  // namespace
}  // namespace planish::kernels
