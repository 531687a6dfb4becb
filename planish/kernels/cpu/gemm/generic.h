#pragma once

// The loops behind every instruction set; included by one file per instruction set and nothing else.

#include <cstddef>
#include <cstdint>

#include "planish/base/macros.h"
#include "planish/kernels/cpu/gemm/gelu.h"
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

  /// Where a product finds the panel's numbers: [depth][kWidth] at `at`. While the first tile is computed they are
  /// still to be made of two quadrants, at + `other` or at - `other`, and left in `sums` for the other tiles.
  struct Factor {
    const float* at;
    const float* other = nullptr;
    float* sums = nullptr;
    bool negate = false;
  };

  typedef int32_t Bits __attribute__((vector_size(W * sizeof(float))));

  /// One number of each of kRows rows times one row of the panel. Rows are reached from every third row's pointer, so
  /// that three pointers and one stride are enough.
  template <int kRows, bool kSum>
  PLANISH_INLINE static void step(const float* const (&a)[3], int64_t a_row, const Factor& b, int64_t at, Bits sign,
                                  Vec (&acc)[kRows][C]) {
    Vec w[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      w[c] = load(b.at + at + c * W);
      if constexpr (kSum) {
        w[c] += reinterpret_cast<Vec>(reinterpret_cast<Bits>(load(b.other + at + c * W)) ^ sign);
        store(b.sums + at + c * W, w[c]);
      }
    }
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

  /// acc += the sums of kRows rows of A over `depth` numbers.
  template <int kRows, bool kSum>
  PLANISH_INLINE static void accumulate(int64_t depth, const float* a, int64_t a_row, const Factor& factor, Ahead ahead,
                                        Vec (&acc)[kRows][C]) {
    Factor b = factor;
    const Bits sign = Bits{} + (b.negate ? INT32_MIN : 0);
    const float* from[3] = {a, kRows > 3 ? a + 3 * a_row : a, kRows > 6 ? a + 6 * a_row : a};
    const auto advance = [&from, &b](int64_t n) {
      from[0] += n;
      from[1] += n;
      from[2] += n;
      b.at += n * kWidth;
      if constexpr (kSum) {
        b.other += n * kWidth;
        b.sums += n * kWidth;
      }
    };
    int64_t k = 0;
    for (; k + 4 <= depth; k += 4, advance(4)) {
      for (int64_t i = 0; i < ahead.lines; ++i, ahead.from += kLine) __builtin_prefetch(ahead.from);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const float* const at[3] = {from[0] + i, from[1] + i, from[2] + i};
        step<kRows, kSum>(at, a_row, b, i * kWidth, sign, acc);
      }
    }
    for (; k < depth; ++k, advance(1)) step<kRows, kSum>(from, a_row, b, 0, sign, acc);
  }

  /// A tile of sums that a product is added to, times a sign; `fresh`: there is nothing in it yet.
  struct Into {
    float* tile = nullptr;
    float sign = 1.0F;
    bool fresh = false;
  };

  /// The sums of kRows rows of A over `depth` numbers, added to one or two tiles.
  template <int kRows, bool kSum>
  static void product(int64_t depth, const float* a, int64_t a_row, const Factor& factor, Ahead ahead, Into first,
                      Into second) {
    Vec acc[kRows][C] = {};
    accumulate<kRows, kSum>(depth, a, a_row, factor, ahead, acc);
    const auto add_to = [&acc](const Into& to) {
      for (int r = 0; r < kRows; ++r)
        for (int c = 0; c < C; ++c) {
          float* at = to.tile + r * kWidth + c * W;
          store(at, to.fresh ? acc[r][c] * to.sign : load(at) + acc[r][c] * to.sign);
        }
    };
    add_to(first);
    if (second.tile != nullptr) add_to(second);
  }

  using Product = void (*)(int64_t, const float*, int64_t, const Factor&, Ahead, Into, Into);

  /// The share of tile `i` of `tiles` in fetching [depth][kWidth] floats from `weights`; nothing when that is null.
  PLANISH_INLINE static Ahead share_of(const float* weights, int64_t depth, int64_t i, int64_t tiles) {
    const int64_t lines = (4 * kWidth / kLine + tiles - 1) / tiles;
    if (weights == nullptr || depth < 4) return {nullptr, 0};
    // Shares are whole lines per four numbers; the last tiles may find everything fetched.
    const int64_t begin = i * (depth / 4) * lines * kLine;
    return begin < depth * kWidth ? Ahead{weights + begin, lines} : Ahead{nullptr, 0};
  }

  template <int kRows, bool kSum>
  static Product product_of(int64_t rows) {
    if constexpr (kRows > 1)
      if (rows < kRows) return product_of<kRows - 1, kSum>(rows);
    return product<kRows, kSum>;
  }

  /// A tile of C: `rows` rows from `row`, kWidth columns from `column` of which some may not exist.
  struct Tile {
    int64_t row, rows, column;
    float* sums;  ///< [rows][kWidth]
  };

  /// The sums so far.
  PLANISH_INLINE static void begin(const GemmProblem& p, const Tile& t) {
    for (int64_t r = 0; r < t.rows; ++r)
      for (int c = 0; c < C; ++c) {
        const int64_t column = t.column + c * W;
        store(t.sums + r * kWidth + c * W, load_cut(p.c + (t.row + r) * p.c_row + column, p.n - column));
      }
  }

  static void finish(const GemmProblem& p, const Tile& t, bool last) {
    const GemmEpilogue e = last ? p.epilogue : GemmEpilogue{};
    const float* before = e.residual_last ? nullptr : e.residual;
    const float* after = e.residual_last ? e.residual : nullptr;
    Vec bias[C];
    for (int c = 0; c < C; ++c)
      bias[c] = e.bias != nullptr ? load_cut(e.bias + t.column + c * W, p.n - t.column - c * W) : Vec{};
    /// Calls f(sums, offset in C, columns that are left, column's vector) for every vector.
    const auto each = [&](auto f) __attribute__((always_inline)) {
      for (int64_t r = 0; r < t.rows; ++r)
        for (int c = 0; c < C; ++c) {
          const int64_t column = t.column + c * W;
          f(t.sums + r * kWidth + c * W, (t.row + r) * p.c_row + column, p.n - column, c);
        }
    };
    const auto sum = [&](const float* at, int64_t offset, int64_t left, int c) __attribute__((always_inline)) {
      const Vec v = load(at) + bias[c];
      return before != nullptr ? v + load_cut(before + offset, left) : v;
    };
    const auto leave = [&](Vec v, int64_t offset, int64_t left) __attribute__((always_inline)) {
      store_cut(p.c + offset, after != nullptr ? v + load_cut(after + offset, left) : v, left);
    };
    const auto all = [&](auto act) __attribute__((always_inline)) {
      each([&](const float* at, int64_t offset, int64_t left, int c)
               __attribute__((always_inline)) { leave(act(sum(at, offset, left, c)), offset, left); });
    };
    if (e.activate == nullptr) return all([](Vec v) __attribute__((always_inline)) { return v; });
    if (e.op == PointwiseOp::gelu) return all([](Vec v) __attribute__((always_inline)) { return Gelu<W>::of(v); });
    each([&](float* at, int64_t offset, int64_t left, int c)
             __attribute__((always_inline)) { store(at, sum(at, offset, left, c)); });
    e.activate(e.op, t.rows * kWidth, t.sums, nullptr, t.sums, e.alpha, e.beta);
    each([&](const float* at, int64_t offset, int64_t left, int)
             __attribute__((always_inline)) { leave(load(at), offset, left); });
  }

  /// One panel of weights to one depth, and where the next one begins (null behind the last).
  struct Slice {
    int64_t panel, k, depth;
    const float* next;
    bool last;  ///< of the summed dimension
  };

  /// Calls f(slice) for the panels of all depths, in the order in which they are read.
  template <typename F>
  PLANISH_INLINE static void for_each_slice(const GemmProblem& p, const GemmPart& part, F f) {
    const int64_t floats = p.k * kWidth;
    for (int64_t k = 0; k < p.k; k += part.depth) {
      const bool last = k + part.depth >= p.k;
      for (int64_t panel = part.panel; panel < part.panel + part.panels; ++panel) {
        const float* next = p.weights + (panel + 1) * floats + k * kWidth;
        if (panel + 1 == part.panel + part.panels)
          next = last ? nullptr : p.weights + part.panel * floats + (k + part.depth) * kWidth;
        f(Slice{panel, k, last ? p.k - k : part.depth, next, last});
      }
    }
  }

  static void run_direct(const GemmProblem& p, const GemmPart& part) {
    for (int64_t row = 0; row < part.rows; row += part.chunk)
      for_each_slice(p, part, [&](const Slice& s) {
        direct_panel(p, part.row + row, part.rows - row < part.chunk ? part.rows - row : part.chunk, s);
      });
  }

  static void direct_panel(const GemmProblem& p, int64_t row_begin, int64_t rows, const Slice& s) {
    const int64_t tiles = (rows + R - 1) / R;
    const float* b = p.weights + (s.panel * p.k + s.k) * kWidth;
    for (int64_t i = 0; i < tiles; ++i) {
      const int64_t row = row_begin + rows * i / tiles;
      const Tile t{row, row_begin + rows * (i + 1) / tiles - row, s.panel * kWidth, nullptr};
      direct_tile_of<R>(t.rows)(p, t, s, b, share_of(s.next, s.depth, i, tiles));
    }
  }

  using DirectTile = void (*)(const GemmProblem&, const Tile&, const Slice&, const float*, Ahead);

  template <int kRows>
  static DirectTile direct_tile_of(int64_t rows) {
    if constexpr (kRows > 1)
      if (rows < kRows) return direct_tile_of<kRows - 1>(rows);
    return direct_tile<kRows>;
  }

  /// A tile from its first sum to C: through memory only where an activation or cut columns are in the way.
  template <int kRows>
  static void direct_tile(const GemmProblem& p, const Tile& t, const Slice& s, const float* b, Ahead ahead) {
    const GemmEpilogue& e = p.epilogue;
    const int64_t corner = t.row * p.c_row + t.column;
    const bool whole = t.column + kWidth <= p.n;
    Vec acc[kRows][C] = {};
    if (s.k != 0)
      for (int r = 0; r < kRows; ++r)
        for (int c = 0; c < C; ++c) acc[r][c] = load_cut(p.c + corner + r * p.c_row + c * W, p.n - t.column - c * W);
    accumulate<kRows, false>(s.depth, p.a + t.row * p.a_row + s.k, p.a_row, {b}, ahead, acc);
    if (!whole || (s.last && e.activate != nullptr)) {
      alignas(64) float sums[R * kWidth];
      for (int r = 0; r < kRows; ++r)
        for (int c = 0; c < C; ++c) store(sums + r * kWidth + c * W, acc[r][c]);
      return finish(p, {t.row, t.rows, t.column, sums}, s.last);
    }
    for (int c = 0; c < C; ++c) {
      const Vec bias = s.last && e.bias != nullptr ? load(e.bias + t.column + c * W) : Vec{};
      for (int r = 0; r < kRows; ++r) acc[r][c] += bias;
    }
    if (s.last && e.residual != nullptr)
      for (int r = 0; r < kRows; ++r)
        for (int c = 0; c < C; ++c) acc[r][c] += load(e.residual + corner + r * p.c_row + c * W);
    for (int r = 0; r < kRows; ++r)
      for (int c = 0; c < C; ++c) store(p.c + corner + r * p.c_row + c * W, acc[r][c]);
  }

  /// The seven products: the quadrants of B that make a factor (the second added, subtracted or none), and those of C
  /// that the product is added to. What to take of A's quadrants is in sum_rows.
  struct Recipe {
    int b, other;
    bool negate;
    int c;
    float sign;
    int second;
    float second_sign;
  };
  static constexpr int kNone = -1;
  static constexpr Recipe kRecipes[7] = {{0, 3, false, 0, 1, 3, 1},      {0, kNone, false, 2, 1, 3, -1},
                                         {1, 3, true, 1, 1, 3, 1},       {2, 0, true, 0, 1, 2, 1},
                                         {3, kNone, false, 0, -1, 1, 1}, {0, 1, false, 3, 1, kNone, 0},
                                         {2, 3, false, 0, 1, kNone, 0}};

  /// True when none before product `q` is added to this quadrant of C.
  static constexpr bool is_first(int q, int quadrant) {
    for (int i = 0; i < q; ++i)
      if (kRecipes[i].c == quadrant || kRecipes[i].second == quadrant) return false;
    return true;
  }

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

  /// A pair of panels of weights to one depth: its quadrants, each [depth][kWidth].
  struct Quadrants {
    const float* at[kQuadrants];
  };

  PLANISH_INLINE static Quadrants quadrants(const GemmProblem& p, int64_t pair, int64_t k) {
    const float* left = p.weights + (2 * pair * p.k + k) * kWidth;
    const float* right = left + p.k * kWidth;
    const int64_t lower = p.k / 2 * kWidth;
    return {{left, right, left + lower, right + lower}};
  }

  /// Sums of A's quadrants, and meanwhile the first panel of B on its way to the cache.
  static void sum_quadrants(const GemmProblem& p, const Pairs& pairs, int64_t k, int64_t depth, const Quadrants& first,
                            float* to, int64_t stride) {
    const int64_t floats = depth * kWidth;
    const int64_t share = (floats / pairs.half + kLine) / kLine * kLine;
    int64_t fetched = 0;
    for (int64_t i = 0; i < pairs.count; ++i) {
      const int64_t upper_rows = pairs.upper_rows(i);
      const float* upper = p.a + pairs.upper(i) * p.a_row + k;
      const float* lower = upper + upper_rows * p.a_row;
      float* sums = to + pairs.first(i) * 7 * stride;
      for (int64_t r = 0; r < upper_rows; ++r, fetched += share) {
        for (int64_t at = fetched; at < fetched + share && at < floats; at += kLine)
          for (const float* quadrant : first.at) __builtin_prefetch(quadrant + at);
        sum_rows(depth, p.k / 2, upper + r * p.a_row, r < pairs.lower_rows(i) ? lower + r * p.a_row : nullptr,
                 sums + r * stride, upper_rows * stride);
      }
    }
  }

  static void run_strassen(const GemmProblem& p, const GemmPart& part) {
    const int64_t stride = sum_stride(part.depth);
    const int64_t half = p.k / 2;
    float* factors = part.scratch + (part.chunk + 1) / 2 * 7 * stride;
    for (int64_t row = 0; row < part.rows; row += part.chunk) {
      const Pairs pairs(part.row + row, part.rows - row < part.chunk ? part.rows - row : part.chunk);
      for (int64_t k = 0; k < half; k += part.depth) {
        const bool last = k + part.depth >= half;
        Slice s{part.panel, k, last ? half - k : part.depth, nullptr, last};
        sum_quadrants(p, pairs, k, s.depth, quadrants(p, s.panel, k), part.scratch, stride);
        for (; s.panel < part.panel + part.panels; ++s.panel) {
          const Quadrants b = quadrants(p, s.panel, k);
          const bool more = s.panel + 1 < part.panel + part.panels;
          const bool end = !more && last && row + part.chunk >= part.rows;
          const Quadrants next =
              more ? quadrants(p, s.panel + 1, k) : quadrants(p, part.panel, last ? 0 : k + part.depth);
          for (int64_t i = 0; i < pairs.count; ++i)
            pair_of_tiles(p, part, pairs, i, s, b, factors, end ? nullptr : &next);
        }
      }
    }
  }

  static void pair_of_tiles(const GemmProblem& p, const GemmPart& part, const Pairs& pairs, int64_t i, const Slice& s,
                            const Quadrants& b, float* factors, const Quadrants* next) {
    alignas(64) float sums[kQuadrants][R * kWidth];
    const int64_t rows = pairs.upper_rows(i);
    const int64_t column = s.panel * 2 * kWidth;
    const int64_t upper = pairs.upper(i);
    const int64_t lower_rows = pairs.lower_rows(i);
    const Tile tiles[kQuadrants] = {{upper, rows, column, sums[0]},
                                    {upper, rows, column + kWidth, sums[1]},
                                    {upper + rows, lower_rows, column, sums[2]},
                                    {upper + rows, lower_rows, column + kWidth, sums[3]}};
    if (s.k != 0)
      for (const Tile& t : tiles) begin(p, t);
    const Product multiply = product_of<R, false>(rows);
    const Product multiply_sum = product_of<R, true>(rows);
    const int64_t stride = sum_stride(part.depth);
    const float* a = part.scratch + pairs.first(i) * 7 * stride;
    for (int q = 0; q < 7; ++q, a += rows * stride) {
      const Recipe& recipe = kRecipes[q];
      const bool plain = recipe.other == kNone;
      float* made = factors + q * factor_stride(kWidth, part.depth);
      Factor factor{plain ? b.at[recipe.b] : made};
      if (i == 0 && !plain) factor = {b.at[recipe.b], b.at[recipe.other], made, recipe.negate};
      const Ahead ahead = share_of(next != nullptr && q < kQuadrants ? next->at[q] : nullptr, s.depth, i, pairs.count);
      (factor.sums != nullptr ? multiply_sum : multiply)(
          s.depth, a, stride, factor, ahead, {sums[recipe.c], recipe.sign, s.k == 0 && is_first(q, recipe.c)},
          {recipe.second == kNone ? nullptr : sums[recipe.second], recipe.second_sign,
           s.k == 0 && is_first(q, recipe.second)});
    }
    for (const Tile& t : tiles) finish(p, t, s.last);
  }

  /// Rows of sums lie an odd number of cache lines apart, so that a column of them does not fall into one set.
  static constexpr int64_t sum_stride(int64_t depth) { return ((depth + 15) / 16 | 1) * 16; }

  /// Sums of B's quadrants lie an odd number of cache lines apart, so that writing seven at a time does not fill one
  /// set.
  static constexpr int64_t factor_stride(int64_t width, int64_t depth) {
    return (((depth * width + 15) / 16 + 4) | 1) * 16;
  }

  static constexpr GemmKernel direct(std::string_view name, Isa isa) {
    return {name, isa, 1, R, kWidth, kWidth, run_direct};
  }
  static constexpr GemmKernel strassen(std::string_view name, Isa isa) {
    return {name, isa, 7, R, kWidth, 2 * kWidth, run_strassen};
  }
};

}  // namespace
}  // namespace planish::kernels
