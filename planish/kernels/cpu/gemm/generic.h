#pragma once

// The loops behind every instruction set; included by one file per instruction set and nothing else.

#include <cstddef>
#include <cstdint>

#include "planish/base/macros.h"
#include "planish/base/simd/multiply_add.h"
#include "planish/kernels/cpu/gemm/gelu.h"
#include "planish/kernels/cpu/gemm/gemm.h"

namespace planish::kernels {
namespace {

/// W floats per vector, R rows and C vectors of columns per step.
template <int W, int R, int C>
struct Gemm {
  typedef float Vec __attribute__((vector_size(W * sizeof(float))));
  static constexpr int64_t kWidth = int64_t{W} * C;
  static constexpr int64_t kLine = 16;  ///< floats of a cache line
  /// Sixteen registers are taken by a tile; to make room there would cost the multiplications more than memory does.
  static constexpr bool kGeluInRegisters = W == 16;
  /// Sixteen rows or more of narrow vectors need less than a line for four numbers of a row, and a loop over one line
  /// costs 3 %: its branches hide from the processor where the loop around it ends. Wide ones need several lines.
  static constexpr bool kSingleLines = W < 16;
  /// Where the next panel of direct products is fetched to. With wide vectors, which read twice as much per cycle, it
  /// pays to have it in the first level.
  static constexpr int kPanelLevel = kSingleLines ? 2 : 1;

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

  /// A panel of numbers to multiply with, [depth][kWidth]. A type with the same function may make them meanwhile.
  struct Panel {
    const float* b;
    /// The vector that begins at float `i`.
    PLANISH_INLINE Vec vector(int64_t i) const { return load(b + i); }
  };

  /// One number of each of kRows rows times the row of the panel that begins at float `i`. Rows are reached from every
  /// third row's pointer, so that three pointers and one stride are enough.
  template <int kRows, typename P>
  PLANISH_INLINE static void step(const float* const (&a)[3], int64_t a_row, const P& panel, int64_t i,
                                  Vec (&acc)[kRows][C]) {
    Vec w[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) w[c] = panel.vector(i + c * W);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const float x = a[r / 3][r % 3 * a_row];
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) simd::multiply_add(acc[r][c], x, w[c]);
    }
  }

  /// Floats on their way to the cache of level kTo meanwhile, evenly: asked for faster than memory answers, lines fill
  /// the buffers that the multiplications' own loads need. Wide vectors: whole lines.
  template <int kTo, bool kSingle = kSingleLines>
  struct Ahead {
    const float* from;
    int64_t lines;  ///< for every four numbers of a row
    PLANISH_INLINE void fetch() {
      for (int64_t i = 0; i < lines; ++i, from += kLine) __builtin_prefetch(from, 0, 4 - kTo);
    }
  };
  /// Narrow ones: a line at most, asked for more than once where less is due.
  template <int kTo>
  struct Ahead<kTo, true> {
    const float* from;
    int64_t step;  ///< floats for every four numbers of a row
    PLANISH_INLINE void fetch() {
      __builtin_prefetch(from, 0, 4 - kTo);
      from += step;
    }
  };

  /// How `turns` share in fetching [depth][kWidth] floats.
  struct Shares {
    int64_t fours;
    int64_t all;
    int64_t due;  ///< floats for every four numbers of a row

    Shares() = default;
    Shares(int64_t turns, int64_t depth)
        : fours(depth / 4), all(depth * kWidth), due(fours == 0 ? 0 : (all + turns * fours - 1) / (turns * fours)) {
      if (!kSingleLines || due > kLine) due = (due + kLine - 1) / kLine * kLine;
    }
    /// The share of one turn. Where there is nothing left: nothing, or again and again what is `here`, in a cache.
    template <int kTo>
    PLANISH_INLINE Ahead<kTo> of(int64_t turn, const float* weights, const float* here) const {
      const float* from = weights + turn * fours * due;
      const bool any = weights != nullptr && turn * fours * due < all;
      if constexpr (!kSingleLines) return any ? Ahead<kTo>{from, due / kLine} : Ahead<kTo>{nullptr, 0};
      if (!any) return {here, 0};
      // With so few rows that several lines are due, the multiplications wait for memory in any case.
      for (int64_t i = fours * kLine; i < fours * due; i += kLine) __builtin_prefetch(from + i, 0, 4 - kTo);
      return {from, due < kLine ? due : kLine};
    }
  };

  /// acc += the sums of kRows rows of A over `depth` numbers, times a panel.
  template <int kRows, typename P, typename Q>
  PLANISH_INLINE static void accumulate(int64_t depth, const float* a, int64_t a_row, const P& panel, Q ahead,
                                        Vec (&acc)[kRows][C]) {
    const float* from[3] = {a, kRows > 3 ? a + 3 * a_row : a, kRows > 6 ? a + 6 * a_row : a};
    int64_t at = 0;
    const auto advance = [&from, &at](int64_t n) {
      from[0] += n;
      from[1] += n;
      from[2] += n;
      at += n * kWidth;
    };
    int64_t k = 0;
    for (; k + 4 <= depth; k += 4, advance(4)) {
      ahead.fetch();
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const float* const rows[3] = {from[0] + i, from[1] + i, from[2] + i};
        step<kRows>(rows, a_row, panel, at + i * kWidth, acc);
      }
    }
    if constexpr (!kSingleLines) {
      for (; k < depth; ++k, advance(1)) step<kRows>(from, a_row, panel, at, acc);
    } else if (k < depth) {
      // A copy, so that the sums stay in registers where there is no rest.
      Vec sums[kRows][C];
      copy<kRows>(acc, sums);
      add_rest<kRows>(depth - k, from, a_row, panel, at, sums);
      copy<kRows>(sums, acc);
    }
  }

  template <int kRows>
  PLANISH_INLINE static void copy(const Vec (&from)[kRows][C], Vec (&to)[kRows][C]) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) to[r][c] = from[r][c];
  }

  /// The last numbers of rows, fewer than four: out of line, or sums move to memory and back around a second loop.
  template <int kRows, typename P>
  __attribute__((noinline)) static void add_rest(int64_t count, const float* const (&a)[3], int64_t a_row,
                                                 const P& panel, int64_t at, Vec (&acc)[kRows][C]) {
    for (int64_t k = 0; k < count; ++k, at += kWidth) {
      const float* const rows[3] = {a[0] + k, a[1] + k, a[2] + k};
      step<kRows>(rows, a_row, panel, at, acc);
    }
  }

  /// A tile of C: `rows` rows from `row`, kWidth columns from `column` of which some may not exist.
  struct Tile {
    int64_t row, rows, column;
    float* sums;  ///< [rows][kWidth]
  };

  /// What t.sums hold to C: added to what is there unless they are the `first`, behind the `last` with the epilogue.
  static void finish(const GemmProblem& p, const Tile& t, bool first, bool last) {
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
      Vec v = load(at) + bias[c];
      if (!first) v += load_cut(p.c + offset, left);
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
    const Shares next(tiles, s.depth);
    for (int64_t i = 0; i < tiles; ++i) {
      const int64_t row = row_begin + rows * i / tiles;
      const Tile t{row, row_begin + rows * (i + 1) / tiles - row, s.panel * kWidth, nullptr};
      direct_tile_of<R>(t.rows)(p, t, s, b, next.template of<kPanelLevel>(i, s.next, b));
    }
  }

  using DirectTile = void (*)(const GemmProblem&, const Tile&, const Slice&, const float*, Ahead<kPanelLevel>);

  template <int kRows>
  static DirectTile direct_tile_of(int64_t rows) {
    if constexpr (kRows > 1)
      if (rows < kRows) return direct_tile_of<kRows - 1>(rows);
    return direct_tile<kRows>;
  }

  /// A tile from its first sum to C.
  template <int kRows>
  static void direct_tile(const GemmProblem& p, const Tile& t, const Slice& s, const float* b,
                          Ahead<kPanelLevel> ahead) {
    Vec acc[kRows][C] = {};
    accumulate<kRows>(s.depth, p.a + t.row * p.a_row + s.k, p.a_row, Panel{b}, ahead, acc);
    leave<kRows>(p, t, s.k == 0, s.last, acc);
  }

  /// GELU of a whole tile to C, with the constants in registers.
  __attribute__((noinline)) static void store_gelu(int64_t rows, const float* sums, float* to, int64_t to_row) {
    for (int64_t r = 0; r < rows; ++r, sums += kWidth, to += to_row)
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) store(to + c * W, Gelu<W>::of(load(sums + c * W)));
  }

  /// Sums of a tile to C, added to what is there unless they are the first: through memory only where an activation or
  /// cut rows or columns are in the way.
  template <int kRows>
  PLANISH_INLINE static void leave(const GemmProblem& p, const Tile& t, bool first, bool last, Vec (&acc)[kRows][C]) {
    const GemmEpilogue& e = p.epilogue;
    float* corner = p.c + t.row * p.c_row + t.column;
    const bool whole = t.rows == kRows && t.column + kWidth <= p.n;
    const bool gelu = last && e.activate != nullptr && e.op == PointwiseOp::gelu &&
                      (kGeluInRegisters || e.residual == nullptr || !e.residual_last);
    if (!whole || (last && e.activate != nullptr && !gelu)) {
      alignas(64) float sums[kRows * kWidth];
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) store(sums + r * kWidth + c * W, acc[r][c]);
      return finish(p, {t.row, t.rows, t.column, sums}, first, last);
    }
    const auto add_rows_of = [&](const float* from) __attribute__((always_inline)) {
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) acc[r][c] += load(from + r * p.c_row + c * W);
    };
    if (!first) add_rows_of(corner);
    if (last && e.bias != nullptr) {
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) {
        const Vec bias = load(e.bias + t.column + c * W);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) acc[r][c] += bias;
      }
    }
    if (last && e.residual != nullptr && !e.residual_last) add_rows_of(e.residual + (corner - p.c));
    if (!kGeluInRegisters && gelu) {
      alignas(64) float sums[kRows * kWidth];
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) store(sums + r * kWidth + c * W, acc[r][c]);
      return store_gelu(kRows, sums, corner, p.c_row);
    }
    if (kGeluInRegisters && gelu) {
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) acc[r][c] = Gelu<W>::of(acc[r][c]);
    }
    if (last && e.residual != nullptr && e.residual_last) add_rows_of(e.residual + (corner - p.c));
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) store(corner + r * p.c_row + c * W, acc[r][c]);
  }

  static constexpr GemmKernel direct(std::string_view name, Isa isa) {
    return {name, isa, 1, R, kWidth, kWidth, run_direct};
  }
};

}  // namespace
}  // namespace planish::kernels
