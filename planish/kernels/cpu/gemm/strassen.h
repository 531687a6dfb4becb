#pragma once

// One step of Strassen's multiplication in Winograd's form, over the loops of generic.h; included by one file per
// instruction set and nothing else.

#include "planish/kernels/cpu/gemm/generic.h"

namespace planish::kernels {
namespace {

/// Quadrants [1 1; 2 1] are named A11, A12, A21, A22; likewise those of B and C. With
///   S1 = A21 + A22, S2 = S1 - A11, S3 = A11 - A21, S4 = A12 - S2,
///   T2 = B22 - B12 + B11, T1 = B22 - T2, T3 = T2 - B11, T4 = T2 - B21
/// the quadrants of C are running sums of seven products, most of which go on from the one before:
///   u = A11 B11;   u' = u + S2 T2;   u" = u' + S1 T1;   C12 = u" + S4 B22;
///   v = S3 T3;     C22 = u" + v;     C21 = (u' + v) - A22 T4;   C11 = u + A12 B21.
/// Weights are packed with T2 in the place of B12, which no product needs: then each of the other sums is one
/// difference.
template <int W, int R, int C>
struct Strassen : Gemm<W, R, C> {
  using Base = Gemm<W, R, C>;
  using Base::kLine;
  using Base::kWidth;
  using Base::load;
  using Base::load_cut;
  using Base::store;
  using Base::store_cut;
  using typename Base::Panel;
  using typename Base::Shares;
  using typename Base::Slice;
  using typename Base::Tile;
  using typename Base::Vec;
  static constexpr int kQuadrants = 4;
  static constexpr int kProducts = 7;
  static constexpr int kWeightSums = 3;  ///< T1, T3 and T4
  static constexpr int kRowSums = 5;     ///< S1 to S4 and -A22, which replaces a sign
  static constexpr int kKept = 3;        ///< running sums that later ones need: u, u', u"

  /// Rows of sums lie an odd number of cache lines apart, so that a column of them does not fall into one set.
  static constexpr int64_t sum_stride(int64_t depth) { return ((depth + 15) / 16 | 1) * 16; }

  /// Sums of B's quadrants lie an odd number of cache lines apart, so that they do not fill one set.
  static constexpr int64_t factor_stride(int64_t width, int64_t depth) {
    return (((depth * width + 15) / 16 + 4) | 1) * 16;
  }

  /// Rows of A by pairs of tiles: upper ones, followed by as many lower ones (or one fewer at the very end). The first
  /// `larger` pairs have one row more than `least`.
  struct Pairs {
    int64_t row, rows, half, count, least, larger;

    explicit Pairs(int64_t row_begin, int64_t row_count)
        : row(row_begin),
          rows(row_count),
          half((row_count + 1) / 2),
          count((half + R - 1) / R),
          least(half / count),
          larger(half % count) {}
    [[nodiscard]] int64_t first(int64_t i) const { return least * i + (i < larger ? i : larger); }
    [[nodiscard]] int64_t upper_rows(int64_t i) const { return i < larger ? least + 1 : least; }
    [[nodiscard]] int64_t lower_rows(int64_t i) const {
      const int64_t left = rows - 2 * first(i) - upper_rows(i);
      return left < upper_rows(i) ? left : upper_rows(i);
    }
    [[nodiscard]] int64_t upper(int64_t i) const { return row + 2 * first(i); }
  };

  /// A pair of panels of weights to one depth: its quadrants by rows (B11, T2, B21, B22), each [depth][kWidth].
  struct Quadrants {
    const float* at[kQuadrants];
  };

  PLANISH_INLINE static Quadrants quadrants(const GemmProblem& p, int64_t pair, int64_t k) {
    const float* left = p.weights + (2 * pair * p.k + k) * kWidth;
    const float* right = left + p.k * kWidth;
    const int64_t lower = p.k / 2 * kWidth;
    return {{left, right, left + lower, right + lower}};
  }

  /// Sums of A's quadrants for one row of the upper and one of the lower half (null: zeros), `stride` apart, in the
  /// order of the products that need them.
  PLANISH_INLINE static void sum_rows(int64_t depth, int64_t half, const float* upper, const float* lower, float* to,
                                      int64_t stride) {
    const auto part = [&](int64_t k, int64_t count) __attribute__((always_inline)) {
      const Vec a11 = load_cut(upper + k, count);
      const Vec a12 = load_cut(upper + half + k, count);
      const Vec a21 = lower != nullptr ? load_cut(lower + k, count) : Vec{};
      const Vec a22 = lower != nullptr ? load_cut(lower + half + k, count) : Vec{};
      const Vec s1 = a21 + a22;
      const Vec s2 = s1 - a11;
      const Vec sums[kRowSums] = {s2, s1, a12 - s2, a11 - a21, -a22};
#pragma GCC unroll 5
      for (int i = 0; i < kRowSums; ++i) store_cut(to + i * stride + k, sums[i], count);
    };
    int64_t k = 0;
    for (; k + W <= depth; k += W) part(k, W);
    if (k < depth) part(k, depth - k);
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
      float* sums = to + pairs.first(i) * kRowSums * stride;
      for (int64_t r = 0; r < upper_rows; ++r, fetched += share) {
        for (int64_t at = fetched; at < fetched + share && at < floats; at += kLine)
          for (const float* quadrant : first.at) __builtin_prefetch(quadrant + at);
        sum_rows(depth, p.k / 2, upper + r * p.a_row, r < pairs.lower_rows(i) ? lower + r * p.a_row : nullptr,
                 sums + r * stride, upper_rows * stride);
      }
    }
  }

  /// Sums of B's quadrants, each made in the first product that needs it of the first pair of tiles, where the
  /// multiplications leave time for it, and left for the other pairs.
  struct MakeDifference {
    const float *from, *less;
    float* to;
    PLANISH_INLINE Vec vector(int64_t i) const {
      const Vec v = load(from + i) - load(less + i);
      store(to + i, v);
      return v;
    }
  };

  /// How products of pairs of tiles share evenly in fetching the next quadrants, a quarter of them each. Divisions are
  /// done here, not in every product.
  struct Turns {
    int64_t first[kQuadrants];
    Shares shares[kQuadrants];

    Turns(int64_t turns, int64_t depth) {
      const auto begin = [turns](int64_t i) { return (turns * i + kQuadrants - 1) / kQuadrants; };
      for (int64_t i = 0; i < kQuadrants; ++i) {
        first[i] = begin(i);
        shares[i] = Shares(begin(i + 1) - begin(i), depth);
      }
    }
    PLANISH_INLINE auto share(int64_t turn, const Quadrants& next, const float* here) const {
      const int i = (turn >= first[1]) + (turn >= first[2]) + (turn >= first[3]);
      return shares[i].template of<2>(turn - first[i], next.at[i], here);
    }
  };

  static void run(const GemmProblem& p, const GemmPart& part) {
    const int64_t stride = sum_stride(part.depth);
    const int64_t half = p.k / 2;
    float* sums = part.scratch + (part.chunk + 1) / 2 * kRowSums * stride;
    for (int64_t row = 0; row < part.rows; row += part.chunk) {
      const Pairs pairs(part.row + row, part.rows - row < part.chunk ? part.rows - row : part.chunk);
      for (int64_t k = 0; k < half; k += part.depth) {
        const bool last = k + part.depth >= half;
        Slice s{part.panel, k, last ? half - k : part.depth, nullptr, last};
        const Turns turns(pairs.count * kProducts, s.depth);
        sum_quadrants(p, pairs, k, s.depth, quadrants(p, s.panel, k), part.scratch, stride);
        for (; s.panel < part.panel + part.panels; ++s.panel) {
          const Quadrants b = quadrants(p, s.panel, k);
          const bool more = s.panel + 1 < part.panel + part.panels;
          const bool end = !more && last && row + part.chunk >= part.rows;
          const Quadrants next =
              more ? quadrants(p, s.panel + 1, k) : quadrants(p, part.panel, last ? 0 : k + part.depth);
          const int64_t sum = factor_stride(kWidth, part.depth);
          const Work work{
              p,    pairs, s, part.scratch, stride, b, {sums, sums + sum, sums + 2 * sum}, end ? Quadrants{} : next,
              turns};
          pair_of_tiles_of<R, true>(pairs.upper_rows(0))(work, 0);
          for (int64_t i = 1; i < pairs.count; ++i) pair_of_tiles_of<R, false>(pairs.upper_rows(i))(work, i);
        }
      }
    }
  }

  /// What all pairs of tiles of one pair of panels share.
  struct Work {
    const GemmProblem& p;
    const Pairs& pairs;
    const Slice& slice;
    const float* sums;  ///< of A's quadrants
    int64_t sum_row;
    Quadrants b;
    float* t[kWeightSums];
    Quadrants next;  ///< what is read next, or null
    const Turns& turns;
  };

  using PairOfTiles = void (*)(const Work&, int64_t);

  template <int kRows, bool kFirst>
  static PairOfTiles pair_of_tiles_of(int64_t rows) {
    if constexpr (kRows > 1)
      if (rows < kRows) return pair_of_tiles_of<kRows - 1, kFirst>(rows);
    return pair_of_tiles<kRows, kFirst>;
  }

  /// How a product goes on from the one before: what it starts from, which running sum is kept, with what it is
  /// finished, and as which quadrant of C.
  struct Step {
    int start, keep, add_to, add, quadrant;
  };
  static constexpr int kNone = -1;
  static constexpr int kBefore = -2;  ///< start with what the product before left
  static constexpr Step kSteps[kProducts] = {{kNone, 0, kNone, kNone, kNone},   {kBefore, 1, kNone, kNone, kNone},
                                             {kBefore, 2, kNone, kNone, kNone}, {kBefore, kNone, kNone, kNone, 1},
                                             {kNone, kNone, 1, 2, 3},           {1, kNone, kNone, kNone, 2},
                                             {0, kNone, kNone, kNone, 0}};

  /// acc += product `q` of pair `i` of tiles.
  template <int kRows, bool kFirst>
  PLANISH_INLINE static void multiply(const Work& w, int q, int64_t i, Vec (&acc)[kRows][C]) {
    // A11 and A12 are read where they are.
    const bool plain = q == 0 || q == kProducts - 1;
    const float* a = plain ? w.p.a + w.pairs.upper(i) * w.p.a_row + w.slice.k + (q == 0 ? 0 : w.p.k / 2)
                           : w.sums + (w.pairs.first(i) * kRowSums + (q - 1) * kRows) * w.sum_row;
    const int64_t a_row = plain ? w.p.a_row : w.sum_row;
    const auto ahead = w.turns.share(i * kProducts + q, w.next, w.b.at[0]);
    const auto by = [&](const auto& panel) __attribute__((always_inline)) {
      Base::template accumulate<kRows>(w.slice.depth, a, a_row, panel, ahead, acc);
    };
    const float *const b11 = w.b.at[0], *const t2 = w.b.at[1], *const b21 = w.b.at[2], *const b22 = w.b.at[3];
    if constexpr (kFirst) {
      if (q == 2) return by(MakeDifference{b22, t2, w.t[0]});
      if (q == 4) return by(MakeDifference{t2, b11, w.t[1]});
      if (q == 5) return by(MakeDifference{t2, b21, w.t[2]});
    }
    const float* const panels[kProducts] = {b11, t2, w.t[0], b22, w.t[1], w.t[2], b21};
    by(Panel{panels[q]});
  }

  /// acc: from what product `q` starts with to a quadrant of C.
  template <int kRows, bool kFirst>
  PLANISH_INLINE static void product(const Work& w, int q, int64_t i, float (&kept)[kKept][kRows * kWidth],
                                     Vec (&acc)[kRows][C]) {
    const Step& step = kSteps[q];
    /// acc = f(acc, a running sum's vector) for every vector.
    const auto each = [&](float* sums, auto f) __attribute__((always_inline)) {
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) f(acc[r][c], sums + r * kWidth + c * W);
    };
    if (step.start == kNone)
      each(
          nullptr, [](Vec & v, float*) __attribute__((always_inline)) { v = Vec{}; });
    else if (step.start >= 0)
      each(
          kept[step.start], [](Vec & v, float* at) __attribute__((always_inline)) { v = load(at); });
    multiply<kRows, kFirst>(w, q, i, acc);
    if (step.keep >= 0)
      each(
          kept[step.keep], [](Vec & v, float* at) __attribute__((always_inline)) { store(at, v); });
    if (step.quadrant < 0) return;
    if (step.add_to >= 0) {
      each(
          kept[step.add_to], [](Vec & v, float* at) __attribute__((always_inline)) { store(at, load(at) + v); });
      each(
          kept[step.add], [](Vec & v, float* at) __attribute__((always_inline)) { v += load(at); });
    }
    const bool is_lower = step.quadrant >= 2;
    const int64_t upper = w.pairs.upper(i);
    const int64_t column = w.slice.panel * 2 * kWidth;
    const Tile t{is_lower ? upper + kRows : upper, is_lower ? w.pairs.lower_rows(i) : kRows,
                 step.quadrant % 2 != 0 ? column + kWidth : column, nullptr};
    Base::template leave<kRows>(w.p, t, w.slice.k == 0, w.slice.last, acc);
  }

  template <int kRows, bool kFirst>
  static void pair_of_tiles(const Work& w, int64_t i) {
    alignas(64) float kept[kKept][kRows * kWidth];
    Vec acc[kRows][C] = {};
    if constexpr (Base::kSingleLines) {
      // One after the other with nothing left to decide: a branch that depends on the product is mispredicted, because
      // the loops in between are all that the processor remembers. Larger tiles gain nothing from it.
      product<kRows, kFirst>(w, 0, i, kept, acc);
      product<kRows, kFirst>(w, 1, i, kept, acc);
      product<kRows, kFirst>(w, 2, i, kept, acc);
      product<kRows, kFirst>(w, 3, i, kept, acc);
      product<kRows, kFirst>(w, 4, i, kept, acc);
      product<kRows, kFirst>(w, 5, i, kept, acc);
      product<kRows, kFirst>(w, 6, i, kept, acc);
    } else {
      for (int q = 0; q < kProducts; ++q) product<kRows, kFirst>(w, q, i, kept, acc);
    }
  }

  static constexpr GemmKernel kernel(std::string_view name, Isa isa) {
    return {name, isa, kProducts, R, kWidth, 2 * kWidth, run};
  }
};

}  // namespace
}  // namespace planish::kernels
