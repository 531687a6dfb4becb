#pragma once

// The loops behind every instruction set; included by one file per instruction set and nothing else.

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/base/simd/unroll.h"
#include "planish/kernels/cpu/float_epilogue/generic.h"
#include "planish/kernels/cpu/stem_conv/stem_conv.h"

namespace planish::kernels {
namespace {

/// S: vectors of base/simd. kMost...: pixels per step for panels of 1, 2, ... vectors, as many as the sums' registers
/// allow.
template <typename S, int... kMost>
struct StemConv {
  using F = typename S::F;
  static constexpr int W = S::kLanes;
  static constexpr int kPanel = sizeof...(kMost);

  static constexpr int most(int vectors) {
    constexpr int kPixels[] = {kMost...};
    return kPixels[vectors - 1];
  }

  /// Neighbouring pixels: their numbers lie kStride apart in a line, which addressing modes add for free.
  template <int kRows, int kCols, int kStride>
  static void tile(const StemConvProblem& p, const StemConvPart& part, const float* x, const float* weights,
                   const FloatEpilogue& e, float* y) {
    using simd::unroll;
    F acc[kRows][kCols];
    const int64_t exist = p.whole_vectors ? int64_t{kCols} * W : p.filters - part.vector * W;
    FloatTile<S>::begin(e, part.vector * W, exist, acc);
    const float* w = weights;
    const float* end = w + p.numbers * kCols * W;
    for (const int32_t* offset = p.offsets; w != end; w += int64_t{kCols} * W, ++offset) {
      const float* at = x + *offset;
      F b[kCols];
      unroll<kCols>([&](auto k) __attribute__((always_inline)) { b[k] = S::load(w + k * W); });
      unroll<kRows>([&](auto i) __attribute__((always_inline)) {
        const F a = S::set1(at[i * kStride]);
        unroll<kCols>([&](auto k) __attribute__((always_inline)) { acc[i][k] = S::fma(a, b[k], acc[i][k]); });
      });
    }
    FloatTile<S>::template finish<kRows, kCols>(e, {y, nullptr, p.y_pixel, p.y_vector, exist}, acc);
  }

  /// Steps of kRows pixels, of which the last begins where it ends with the line; shorter lines take shorter steps.
  template <int kRows, int kCols, int kStride>
  static void line(const StemConvProblem& p, const StemConvPart& part, const float* x, const float* weights,
                   const FloatEpilogue& e, float* y) {
    if constexpr (kRows > 1)
      if (p.out_w < kRows) return line<kRows / 2, kCols, kStride>(p, part, x, weights, e, y);
    for (int64_t j = 0; j < p.out_w; j += kRows) {
      const int64_t at = j + kRows <= p.out_w ? j : p.out_w - kRows;
      tile<kRows, kCols, kStride>(p, part, x + at * kStride, weights, e, y + at * p.y_pixel);
    }
  }

  template <int kCols>
  static void columns_of(const StemConvProblem& p, const StemConvPart& part, const float* x, const float* weights,
                         const FloatEpilogue& e, float* y) {
    if constexpr (kCols > 0) {
      if (part.vectors != kCols) return columns_of<kCols - 1>(p, part, x, weights, e, y);
      if (p.stride_w == 1) return line<most(kCols), kCols, 1>(p, part, x, weights, e, y);
      line<most(kCols), kCols, 2>(p, part, x, weights, e, y);
    }
  }

  static void run(const StemConvProblem& p, const StemConvPart& part, const float* x, const float* weights,
                  const FloatEpilogue& e, float* y) {
    columns_of<kPanel>(p, part, x, weights, e, y);
  }

  static constexpr StemConvKernel row(std::string_view name, Isa isa) { return {name, isa, W, kPanel, run}; }
};

}  // namespace
}  // namespace planish::kernels
