#pragma once

// The loops behind every instruction set; included by one file per instruction set and nothing else.

#include <cstddef>
#include <cstdint>

#include "planish/base/macros.h"
#include "planish/kernels/cpu/weight_only/segments.h"
#include "planish/kernels/cpu/weight_only/weight_only.h"

namespace planish::kernels {
namespace {

/// S: the vectors, and conversions to them (the compiler wants these outside templates); R rows and P panels per step
/// at most.
template <typename S, int R, int P>
struct WeightOnly {
  using Vec = typename S::Vec;
  using Words = typename S::Words;
  static constexpr int W = static_cast<int>(sizeof(Vec) / sizeof(float));
  static constexpr int kPanel = static_cast<int>(kWeightOnlyPanel);
  static constexpr int V = kPanel / W;  ///< vectors of a panel
  static constexpr int64_t kMostRows = 32;

  template <typename T>
  PLANISH_INLINE static T load(const void* p) {
    T v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
  }
  template <typename T>
  PLANISH_INLINE static void store(void* p, T v) {
    __builtin_memcpy(p, &v, sizeof(v));
  }
  /// The first `count` of W floats.
  PLANISH_INLINE static Vec load_cut(const float* p, int64_t count) {
    if (count >= W) return load<Vec>(p);
    Vec v{};
    if (count > 0) __builtin_memcpy(&v, p, static_cast<size_t>(count) * sizeof(float));
    return v;
  }
  PLANISH_INLINE static void store_cut(float* p, Vec v, int64_t count) {
    if (count >= W) return store(p, v);
    if (count > 0) __builtin_memcpy(p, &v, static_cast<size_t>(count) * sizeof(float));
  }

  /// Rows of weights that share a scale, or part of them.
  struct Segment {
    int64_t rows;
    const uint8_t* weights;  ///< of the first panel
    int64_t panel_bytes;
    const float* scales;   ///< of the first panel
    const uint8_t* zeros;  ///< null: the middle
    int64_t panel_scales;  ///< from one panel's scale to the next one's
    const float* sums;     ///< of the first row of A, negative
  };

  /// Eight rows of 4-bit weights lie in one word each: masked, they are the integer times a power of two, by which the
  /// rows of A have been divided.
  template <int kRows, int kPanels>
  PLANISH_INLINE static void add_nibbles(const Segment& s, const float* x, int64_t x_row,
                                         Vec (&acc)[kRows][kPanels * V]) {
    for (int64_t k = 0; k < s.rows; k += 8) {
      Words words[kPanels * V];
#pragma GCC unroll 16
      for (int c = 0; c < kPanels * V; ++c)
        words[c] = load<Words>(s.weights + c / V * s.panel_bytes + k / 2 * kPanel + c % V * W * 4);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) {
        if (i == 4) {
#pragma GCC unroll 16
          for (int c = 0; c < kPanels * V; ++c) words[c] = words[c] >> 16;
        }
#pragma GCC unroll 16
        for (int c = 0; c < kPanels * V; ++c) {
          const Vec w = S::from_words(words[c] & (0xfU << (i % 4 * 4)));
#pragma GCC unroll 8
          for (int r = 0; r < kRows; ++r) acc[r][c] += w * x[r * x_row + k + i];
        }
      }
    }
  }

  template <int kRows, int kPanels>
  PLANISH_INLINE static void add_bytes(const Segment& s, const float* x, int64_t x_row,
                                       Vec (&acc)[kRows][kPanels * V]) {
#pragma GCC unroll 4
    for (int64_t k = 0; k < s.rows; ++k) {
#pragma GCC unroll 16
      for (int c = 0; c < kPanels * V; ++c) {
        const Vec w = S::from_i8(s.weights + c / V * s.panel_bytes + k * kPanel + c % V * W);
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) acc[r][c] += w * x[r * x_row + k];
      }
    }
  }

  /// totals += (x w) * scale for kRows rows.
  template <int kRows, int kPanels, int kBits>
  static void segment(const Segment& s, const float* x, int64_t x_row, float* totals) {
    constexpr int C = kPanels * V;
    constexpr int64_t kWidth = P * kPanel;
    Vec acc[kRows][C];
    for (int c = 0; c < C; ++c) {
      Vec zero = Vec{} + (kBits == 4 ? 8.0F : 0.0F);
      if (s.zeros != nullptr)
        zero = S::from_u8(s.zeros + c / V * s.panel_scales + c % V * W) - (kBits == 4 ? 0.0F : 128.0F);
      for (int r = 0; r < kRows; ++r) acc[r][c] = zero * s.sums[r * x_row];
    }
    if constexpr (kBits == 4)
      add_nibbles<kRows, kPanels>(s, x, x_row, acc);
    else
      add_bytes<kRows, kPanels>(s, x, x_row, acc);
    for (int c = 0; c < C; ++c) {
      const Vec scale = load<Vec>(s.scales + c / V * s.panel_scales + c % V * W);
      for (int r = 0; r < kRows; ++r) {
        float* at = totals + r * kWidth + c * W;
        store(at, load<Vec>(at) + acc[r][c] * scale);
      }
    }
  }

  using SegmentFn = void (*)(const Segment&, const float*, int64_t, float*);

  template <int kRows, int kPanels, int kBits>
  static SegmentFn segment_of(int64_t rows) {
    if constexpr (kRows > 1)
      if (rows < kRows) return segment_of<kRows - 1, kPanels, kBits>(rows);
    return segment<kRows, kPanels, kBits>;
  }

  static SegmentFn segment_of(int64_t bits, int64_t panels, int64_t rows) {
    if (bits == 4) return panels == P ? segment_of<R, P, 4>(rows) : segment_of<R, 1, 4>(rows);
    return panels == P ? segment_of<R, P, 8>(rows) : segment_of<R, 1, 8>(rows);
  }

  /// Calls f(first row of weights, rows, block, number of the segment) for every segment.
  template <typename F>
  PLANISH_INLINE static void for_each_segment(const WeightOnlyShape& s, F f) {
    int64_t number = 0;
    for (int64_t block = 0; block < s.blocks(); ++block) {
      const int64_t end = (block + 1) * s.block < s.k ? (block + 1) * s.block : s.k;
      for (int64_t k = block * s.block; k < end; k += kWeightOnlySegment, ++number)
        f(k, end - k < kWeightOnlySegment ? end - k : kWeightOnlySegment, block, number);
    }
  }

  static void finish(const WeightOnlyProblem& p, int64_t row, int64_t rows, int64_t column, int64_t columns,
                     float* totals) {
    constexpr int64_t kWidth = P * kPanel;
    const GemmEpilogue& e = p.epilogue;
    const int64_t left = p.shape.n - column < columns ? p.shape.n - column : columns;
    const auto add_residual = [&](int64_t r) {
      const float* from = e.residual + (row + r) * p.c_row + column;
      for (int64_t c = 0; c < left; c += W)
        store(totals + r * kWidth + c, load<Vec>(totals + r * kWidth + c) + load_cut(from + c, left - c));
    };
    for (int64_t r = 0; r < rows; ++r) {
      float* sums = totals + r * kWidth;
      for (int64_t c = 0; e.bias != nullptr && c < left; c += W)
        store(sums + c, load<Vec>(sums + c) + load_cut(e.bias + column + c, left - c));
      if (e.residual != nullptr && !e.residual_last) add_residual(r);
      if (e.activate != nullptr) e.activate(e.op, left, sums, nullptr, sums, e.alpha, e.beta);
      if (e.residual != nullptr && e.residual_last) add_residual(r);
      for (int64_t c = 0; c < left; c += W)
        store_cut(p.c + (row + r) * p.c_row + column + c, load<Vec>(sums + c), left - c);
    }
  }

  /// `panels` neighbouring panels and some rows. Weights come from memory once: the rows share a segment while the
  /// first-level cache has it.
  static void tile(const WeightOnlyProblem& p, int64_t row, int64_t rows, int64_t panel, int64_t panels) {
    constexpr int64_t kWidth = P * kPanel;
    const WeightOnlyShape& shape = p.shape;
    const int64_t row_floats = weight_only_row_layout(shape).floats;
    const int64_t sums_at = weight_only_row_layout(shape).sums;
    alignas(64) float totals[kMostRows * kWidth];
    for (int64_t i = 0; i < rows * kWidth; ++i) totals[i] = 0;
    const SegmentFn whole = segment_of(shape.bits, panels, R);
    const SegmentFn rest = segment_of(shape.bits, panels, rows % R);
    const float* x = p.rows + row * row_floats;
    for_each_segment(shape, [&](int64_t k, int64_t length, int64_t block, int64_t number) {
      const int64_t parameters = (panel * shape.blocks() + block) * kPanel;
      Segment s{length,
                p.weights + panel * shape.panel_bytes() + (shape.bits == 4 ? k / 2 : k) * kPanel,
                shape.panel_bytes(),
                p.scales + parameters,
                shape.zeros ? p.zeros + parameters : nullptr,
                shape.blocks() * kPanel,
                x + sums_at + number};
      for (int64_t r = 0; r < rows; r += R, s.sums += R * row_floats)
        (r + R <= rows ? whole : rest)(s, x + r * row_floats + k, row_floats, totals + r * kWidth);
    });
    finish(p, row, rows, panel * kPanel, panels * kPanel, totals);
  }

  static void run(const WeightOnlyProblem& p, int64_t panel, int64_t panel_end) {
    while (panel < panel_end) {
      const int64_t panels = panel_end - panel >= P ? P : 1;
      for (int64_t row = 0; row < p.m; row += kMostRows)
        tile(p, row, p.m - row < kMostRows ? p.m - row : kMostRows, panel, panels);
      panel += panels;
    }
  }

  static constexpr WeightOnlyKernel kernel(std::string_view name, Isa isa) { return {name, isa, P, run}; }
};

}  // namespace
}  // namespace planish::kernels
