#pragma once

// The loops behind every instruction set; included by one file per instruction set and nothing else.

#include <cstddef>
#include <cstdint>

#include "planish/base/macros.h"
#include "planish/kernels/cpu/gemm/gemm.h"

namespace planish::kernels {
namespace {

/// W floats per vector, R rows and C vectors of columns per step.
template <int W, int R, int C>
struct Gemm {
  typedef float Vec __attribute__((vector_size(W * sizeof(float))));
  static constexpr int64_t kWidth = int64_t{W} * C;
  static constexpr int kQuadrants = 4;
  static constexpr int64_t kLine = 16;  ///< floats of a cache line

  PLANISH_INLINE static Vec load(const float* p) {
    Vec v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
  }
  PLANISH_INLINE static void store(float* p, Vec v) { __builtin_memcpy(p, &v, sizeof(v)); }
  /// The first `count` of W floats.
  PLANISH_INLINE static Vec load_cut(const float* p, int64_t count) {
    if (count >= W) return load(p);
    Vec v{};
    if (count > 0) __builtin_memcpy(&v, p, static_cast<size_t>(count) * sizeof(float));
    return v;
  }
  PLANISH_INLINE static void store_cut(float* p, Vec v, int64_t count) {
    if (count >= W) return store(p, v);
    if (count > 0) __builtin_memcpy(p, &v, static_cast<size_t>(count) * sizeof(float));
  }

  /// One number of each of kRows rows times one row of the panel. Rows are reached from every third row's pointer, so
  /// that three pointers and one stride are enough.
  template <int kRows>
  PLANISH_INLINE static void step(const float* const (&a)[3], int64_t a_row, const float* b, Vec (&acc)[kRows][C]) {
    Vec w[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) w[c] = load(b + c * W);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const float x = a[r / 3][r % 3 * a_row];
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) acc[r][c] += x * w[c];
    }
  }

  /// Cache lines to be brought closer meanwhile: `lines` of them for every four numbers of a row.
  struct Ahead {
    const float* from;
    int64_t lines;
  };

  /// tile[r] += sums of kRows rows of A over `depth` numbers, times sign; a second tile likewise when there is one.
  template <int kRows>
  static void product(int64_t depth, const float* a, int64_t a_row, const float* b, Ahead ahead, float* first,
                      float first_sign, float* second, float second_sign) {
    Vec acc[kRows][C] = {};
    const float* from[3] = {a, kRows > 3 ? a + 3 * a_row : a, kRows > 6 ? a + 6 * a_row : a};
    const auto advance = [&from](int64_t n) {
      from[0] += n;
      from[1] += n;
      from[2] += n;
    };
    int64_t k = 0;
    for (; k + 4 <= depth; k += 4, b += 4 * kWidth, advance(4)) {
      for (int64_t i = 0; i < ahead.lines; ++i, ahead.from += kLine) __builtin_prefetch(ahead.from, 0, 2);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const float* const at[3] = {from[0] + i, from[1] + i, from[2] + i};
        step<kRows>(at, a_row, b + i * kWidth, acc);
      }
    }
    for (; k < depth; ++k, b += kWidth, advance(1)) step<kRows>(from, a_row, b, acc);
    const auto add_to = [&acc](float* tile, float sign) {
      for (int r = 0; r < kRows; ++r)
        for (int c = 0; c < C; ++c) {
          float* at = tile + r * kWidth + c * W;
          store(at, load(at) + acc[r][c] * sign);
        }
    };
    add_to(first, first_sign);
    if (second != nullptr) add_to(second, second_sign);
  }

  using Product = void (*)(int64_t, const float*, int64_t, const float*, Ahead, float*, float, float*, float);

  /// The share of tile `i` of `tiles` in fetching [depth][kWidth] floats from `weights`; nothing when that is null.
  PLANISH_INLINE static Ahead share_of(const float* weights, int64_t depth, int64_t i, int64_t tiles) {
    const int64_t lines = (4 * kWidth / kLine + tiles - 1) / tiles;
    if (weights == nullptr || depth < 4) return {nullptr, 0};
    // Shares are whole lines per four numbers; the last tiles may find everything fetched.
    const int64_t begin = i * (depth / 4) * lines * kLine;
    return begin < depth * kWidth ? Ahead{weights + begin, lines} : Ahead{nullptr, 0};
  }

  template <int kRows>
  static Product product_of(int64_t rows) {
    if constexpr (kRows > 1)
      if (rows < kRows) return product_of<kRows - 1>(rows);
    return product<kRows>;
  }

  /// A tile of C: `rows` rows from `row`, kWidth columns from `column` of which some may not exist.
  struct Tile {
    int64_t row, rows, column;
    float* sums;  ///< [rows][kWidth]
  };

  /// Zeros, or the sums so far.
  PLANISH_INLINE static void begin(const GemmProblem& p, const Tile& t, bool first) {
    for (int64_t r = 0; r < t.rows; ++r)
      for (int c = 0; c < C; ++c) {
        const int64_t column = t.column + c * W;
        store(t.sums + r * kWidth + c * W,
              first ? Vec{} : load_cut(p.c + (t.row + r) * p.c_row + column, p.n - column));
      }
  }

  PLANISH_INLINE static void add_residual(const GemmProblem& p, const Tile& t) {
    for (int64_t r = 0; r < t.rows; ++r)
      for (int c = 0; c < C; ++c) {
        const int64_t column = t.column + c * W;
        float* at = t.sums + r * kWidth + c * W;
        store(at, load(at) + load_cut(p.epilogue.residual + (t.row + r) * p.c_row + column, p.n - column));
      }
  }

  /// x Phi(x). With |x| cut off at 5.2, beyond which Phi is 0 or 1 in f32, erf(x / sqrt 2) / x is a polynomial of
  /// degree 12 in u = 2 (x / 5.2)^2 - 1, fitted so that the result errs by at most 1.5e-6 (found by reweighted least
  /// squares).
  PLANISH_INLINE static Vec gelu(Vec x) {
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

  PLANISH_INLINE static void activate(const GemmEpilogue& e, int64_t n, float* sums) {
    if (e.op != PointwiseOp::gelu) return e.activate(e.op, n, sums, nullptr, sums, e.alpha, e.beta);
    for (int64_t i = 0; i < n; i += W) store(sums + i, gelu(load(sums + i)));
  }

  static void finish(const GemmProblem& p, const Tile& t, bool last) {
    const GemmEpilogue& e = p.epilogue;
    if (last) {
      if (e.bias != nullptr)
        for (int c = 0; c < C; ++c) {
          const Vec bias = load_cut(e.bias + t.column + c * W, p.n - t.column - c * W);
          for (int64_t r = 0; r < t.rows; ++r) {
            float* at = t.sums + r * kWidth + c * W;
            store(at, load(at) + bias);
          }
        }
      if (e.residual != nullptr && !e.residual_last) add_residual(p, t);
      if (e.activate != nullptr) activate(e, t.rows * kWidth, t.sums);
      if (e.residual != nullptr && e.residual_last) add_residual(p, t);
    }
    for (int64_t r = 0; r < t.rows; ++r)
      for (int c = 0; c < C; ++c) {
        const int64_t column = t.column + c * W;
        store_cut(p.c + (t.row + r) * p.c_row + column, load(t.sums + r * kWidth + c * W), p.n - column);
      }
  }

  /// One panel of weights to one depth, and where the next one begins (null behind the last).
  struct Slice {
    int64_t panel, k, depth;
    const float* next;
    bool last;  ///< of the summed dimension
  };

  /// Calls f(slice) for the panels of all depths, in the order in which they are read.
  template <typename F>
  PLANISH_INLINE static void for_each_slice(const GemmProblem& p, const GemmPart& part, int64_t products, F f) {
    const int64_t depth = p.k / products;
    const int64_t floats = (products == 1 ? 1 : 7) * depth * kWidth;
    for (int64_t k = 0; k < depth; k += part.depth) {
      const bool last = k + part.depth >= depth;
      for (int64_t panel = part.panel; panel < part.panel + part.panels; ++panel) {
        const float* next = p.weights + (panel + 1) * floats + k * kWidth;
        if (panel + 1 == part.panel + part.panels)
          next = last ? nullptr : p.weights + part.panel * floats + (k + part.depth) * kWidth;
        f(Slice{panel, k, last ? depth - k : part.depth, next, last});
      }
    }
  }

  static void run_direct(const GemmProblem& p, const GemmPart& part) {
    for (int64_t row = 0; row < part.rows; row += part.chunk)
      for_each_slice(p, part, 1, [&](const Slice& s) {
        direct_panel(p, part.row + row, part.rows - row < part.chunk ? part.rows - row : part.chunk, s);
      });
  }

  static void direct_panel(const GemmProblem& p, int64_t row_begin, int64_t rows, const Slice& s) {
    alignas(64) float sums[R * kWidth];
    const int64_t tiles = (rows + R - 1) / R;
    const float* b = p.weights + (s.panel * p.k + s.k) * kWidth;
    for (int64_t i = 0; i < tiles; ++i) {
      const int64_t row = row_begin + rows * i / tiles;
      const Tile t{row, row_begin + rows * (i + 1) / tiles - row, s.panel * kWidth, sums};
      begin(p, t, s.k == 0);
      product_of<R>(t.rows)(s.depth, p.a + row * p.a_row + s.k, p.a_row, b, share_of(s.next, s.depth, i, tiles), sums,
                            1.0F, nullptr, 0.0F);
      finish(p, t, s.last);
    }
  }

  /// The seven products: what to take of A's quadrants is in sum_rows, where the result goes is here.
  struct Target {
    int first;
    float first_sign;
    int second;  ///< -1: none
    float second_sign;
  };
  static constexpr Target kTargets[7] = {{0, 1, 3, 1},  {2, 1, 3, -1}, {1, 1, 3, 1}, {0, 1, 2, 1},
                                         {0, -1, 1, 1}, {3, 1, -1, 0}, {0, 1, -1, 0}};

  /// Sums of A's quadrants for one row of the upper and one of the lower half (null: zeros), `stride` apart.
  PLANISH_INLINE static void sum_rows(int64_t depth, int64_t half, const float* upper, const float* lower, float* to,
                                      int64_t stride) {
    const auto part = [&](int64_t k, int64_t count) {
      const Vec a11 = load_cut(upper + k, count);
      const Vec a12 = load_cut(upper + half + k, count);
      const Vec a21 = lower != nullptr ? load_cut(lower + k, count) : Vec{};
      const Vec a22 = lower != nullptr ? load_cut(lower + half + k, count) : Vec{};
      const Vec sums[7] = {a11 + a22, a21 + a22, a11, a22, a11 + a12, a21 - a11, a12 - a22};
      for (int i = 0; i < 7; ++i) store_cut(to + i * stride + k, sums[i], count);
    };
    int64_t k = 0;
    for (; k + W <= depth; k += W) part(k, W);
    if (k < depth) part(k, depth - k);
  }

  /// Rows of A by pairs of tiles: `rows` upper ones, followed by as many lower ones (or one fewer at the very end).
  struct Pairs {
    int64_t row, rows, half, count;

    explicit Pairs(int64_t row_begin, int64_t row_count)
        : row(row_begin), rows(row_count), half((row_count + 1) / 2), count((half + R - 1) / R) {}
    [[nodiscard]] int64_t first(int64_t i) const { return half * i / count; }
    [[nodiscard]] int64_t upper_rows(int64_t i) const { return first(i + 1) - first(i); }
    [[nodiscard]] int64_t lower_rows(int64_t i) const {
      const int64_t left = rows - 2 * first(i) - upper_rows(i);
      return left < upper_rows(i) ? left : upper_rows(i);
    }
    [[nodiscard]] int64_t upper(int64_t i) const { return row + 2 * first(i); }
  };

  static void sum_quadrants(const GemmProblem& p, const Pairs& pairs, int64_t k, int64_t depth, float* to,
                            int64_t stride) {
    for (int64_t i = 0; i < pairs.count; ++i) {
      const int64_t upper_rows = pairs.upper_rows(i);
      const float* upper = p.a + pairs.upper(i) * p.a_row + k;
      const float* lower = upper + upper_rows * p.a_row;
      float* sums = to + pairs.first(i) * 7 * stride;
      for (int64_t r = 0; r < upper_rows; ++r)
        sum_rows(depth, p.k / 2, upper + r * p.a_row, r < pairs.lower_rows(i) ? lower + r * p.a_row : nullptr,
                 sums + r * stride, upper_rows * stride);
    }
  }

  static void run_strassen(const GemmProblem& p, const GemmPart& part) {
    const int64_t stride = sum_stride(part.depth);
    for (int64_t row = 0; row < part.rows; row += part.chunk) {
      const Pairs pairs(part.row + row, part.rows - row < part.chunk ? part.rows - row : part.chunk);
      for_each_slice(p, part, 2, [&](const Slice& s) {
        if (s.panel == part.panel) sum_quadrants(p, pairs, s.k, s.depth, part.scratch, stride);
        for (int64_t i = 0; i < pairs.count; ++i) pair_of_tiles(p, part, pairs, i, s, stride);
      });
    }
  }

  static void pair_of_tiles(const GemmProblem& p, const GemmPart& part, const Pairs& pairs, int64_t i, const Slice& s,
                            int64_t stride) {
    alignas(64) float sums[kQuadrants][R * kWidth];
    const int64_t rows = pairs.upper_rows(i);
    const int64_t column = s.panel * 2 * kWidth;
    const int64_t upper = pairs.upper(i);
    const int64_t lower_rows = pairs.lower_rows(i);
    const Tile tiles[kQuadrants] = {{upper, rows, column, sums[0]},
                                    {upper, rows, column + kWidth, sums[1]},
                                    {upper + rows, lower_rows, column, sums[2]},
                                    {upper + rows, lower_rows, column + kWidth, sums[3]}};
    for (const Tile& t : tiles) begin(p, t, s.k == 0);
    const Product multiply = product_of<R>(rows);
    const float* a = part.scratch + pairs.first(i) * 7 * stride;
    const int64_t factor = p.k / 2 * kWidth;
    const float* b = p.weights + s.panel * 7 * factor + s.k * kWidth;
    for (int q = 0; q < 7; ++q) {
      const Target& to = kTargets[q];
      const float* next = s.next != nullptr ? s.next + q * factor : nullptr;
      multiply(s.depth, a + q * rows * stride, stride, b + q * factor, share_of(next, s.depth, i, pairs.count),
               sums[to.first], to.first_sign, to.second < 0 ? nullptr : sums[to.second], to.second_sign);
    }
    for (const Tile& t : tiles) finish(p, t, s.last);
  }

  /// Rows of sums lie an odd number of cache lines apart, so that a column of them does not fall into one set.
  static constexpr int64_t sum_stride(int64_t depth) { return ((depth + 15) / 16 | 1) * 16; }

  static constexpr GemmKernel direct(std::string_view name, Isa isa) {
    return {name, isa, 1, R, kWidth, kWidth, run_direct};
  }
  static constexpr GemmKernel strassen(std::string_view name, Isa isa) {
    return {name, isa, 7, R, kWidth, 2 * kWidth, run_strassen};
  }
};

}  // namespace
}  // namespace planish::kernels
