#pragma once

// The loops behind every instruction set; included by one file per instruction set and nothing else.

#include <immintrin.h>

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/base/simd/multiply_add.h"
#include "planish/kernels/cpu/attention/attention.h"
#include "planish/kernels/cpu/rows/generic.h"

namespace planish::kernels {
namespace {

/// W floats per vector, R query rows per block, C vectors of columns per step of the products.
template <int W, int R, int C>
struct Attention {
  typedef float Vec __attribute__((vector_size(W * sizeof(float))));

  PLANISH_INLINE static Vec load(const float* p) {
    Vec v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
  }
  PLANISH_INLINE static void store(float* p, Vec v) { __builtin_memcpy(p, &v, sizeof(v)); }

  static int64_t padded(int64_t n) { return (n + W - 1) / W * W; }
  static int64_t packed_keys_size(int64_t sk, int64_t d) { return padded(sk) * d; }
  static int64_t scratch_size(int64_t sk) { return R * padded(sk); }

  static void pack_keys(int64_t sk, int64_t d, const float* k, int64_t k_row, float* packed) {
    for (int64_t p = 0; p < padded(sk); p += W) {
      const int64_t rows = sk - p < W ? sk - p : W;
      float* panel = packed + p * d;
      int64_t i = 0;
      if (rows == W)
        for (; i + kSquare <= d; i += kSquare)
          for (int64_t l = 0; l < W; l += kSquare) transpose(k + (p + l) * k_row + i, k_row, panel + i * W + l);
      for (; i < d; ++i)
        for (int64_t l = 0; l < W; ++l) panel[i * W + l] = l < rows ? k[(p + l) * k_row + i] : 0.0F;
    }
  }

  static constexpr int kSquare = 4;

  /// to[j][i] = from[i][j] for a square of numbers; rows of `to` are W apart.
  PLANISH_INLINE static void transpose(const float* from, int64_t row, float* to) {
    __m128 a = _mm_loadu_ps(from), b = _mm_loadu_ps(from + row);
    __m128 c = _mm_loadu_ps(from + 2 * row), d = _mm_loadu_ps(from + 3 * row);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps(to, a);
    _mm_storeu_ps(to + W, b);
    _mm_storeu_ps(to + 2 * W, c);
    _mm_storeu_ps(to + 3 * W, d);
  }

  /// True when scores can be finished while they are in registers: every row sees all keys, and the mask's values for
  /// them lie side by side.
  PLANISH_INLINE static bool finishes_early(const AttentionHead& h) {
    return !h.causal && (h.mask == nullptr || h.mask_col == 1);
  }

  /// The first `count` of W floats, `rest` behind them.
  PLANISH_INLINE static Vec load_cut(const float* p, int64_t count, float rest) {
    if (count >= W) return load(p);
    float lanes[W];
    for (int l = 0; l < W; ++l) lanes[l] = l < count ? p[l] : rest;
    return load(lanes);
  }

  /// With fewer, finishing scores in registers would cost the products theirs: they are finished from memory.
  static constexpr bool kManyRegisters = W == 16;

  /// Scores of panel `p` of keys times scale plus mask, -inf behind the last key; `top` keeps the largest.
  PLANISH_INLINE static Vec finished(const AttentionHead& h, int64_t row, int64_t p, Vec score, Vec& top) {
    constexpr float kZeros[W] = {};
    score *= h.scale;
    const int64_t count = h.sk - p;
    if (h.mask != nullptr)
      score += load_cut(h.mask + row * h.mask_row + p, count, -__builtin_inff());
    else if (count < W)
      score += load_cut(kZeros, count, -__builtin_inff());
    top = top < score ? score : top;
    return score;
  }

  /// scores[r][p..] = Q[r] . K for `kRows` rows from `row` and `kCols` panels; where they can be, they are finished,
  /// and `top` keeps the largest by lane.
  template <int kRows, int kCols>
  PLANISH_INLINE static void score_tile(const AttentionHead& h, int64_t row, int64_t p, float* scores,
                                        int64_t score_row, Vec* top) {
    const float* q = h.q + row * h.q_row;
    Vec acc[kRows][kCols] = {};
    const float* keys = h.packed_k + p * h.d;
    const int64_t panel = W * h.d;
    for (int64_t i = 0; i < h.d; ++i) {
      Vec k[kCols];
#pragma GCC unroll 4
      for (int c = 0; c < kCols; ++c) k[c] = load(keys + c * panel + i * W);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const float x = q[r * h.q_row + i];
#pragma GCC unroll 4
        for (int c = 0; c < kCols; ++c) simd::multiply_add(acc[r][c], x, k[c]);
      }
    }
    const bool early = finishes_early(h);
    if constexpr (kManyRegisters)
      if (early) {
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
          for (int c = 0; c < kCols; ++c) acc[r][c] = finished(h, row + r, p + c * W, acc[r][c], top[r]);
      }
    for (int r = 0; r < kRows; ++r)
      for (int c = 0; c < kCols; ++c) store(scores + r * score_row + p + c * W, acc[r][c]);
    if constexpr (!kManyRegisters)
      if (early) finish_tile<kRows, kCols>(h, row, p, scores + p, score_row, top);
  }

  template <int kRows, int kCols>
  PLANISH_INLINE static void finish_tile(const AttentionHead& h, int64_t row, int64_t p, float* scores,
                                         int64_t score_row, Vec* top) {
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
      for (int c = 0; c < kCols; ++c) {
        float* at = scores + r * score_row + c * W;
        store(at, finished(h, row + r, p + c * W, load(at), top[r]));
      }
  }

  template <int kRows>
  PLANISH_INLINE static void scores_of(const AttentionHead& h, int64_t row, float* scores, int64_t score_row,
                                       Vec* top) {
    int64_t p = 0;
    for (; p + C * W <= score_row; p += C * W) score_tile<kRows, C>(h, row, p, scores, score_row, top);
    for (; p < score_row; p += W) score_tile<kRows, 1>(h, row, p, scores, score_row, top);
  }

  /// out[r][j..] = factor[r] * sum over keys of P[r][key] * V[key][j..] for `kRows` rows and `kCols` vectors.
  template <int kRows, int kCols>
  PLANISH_INLINE static void value_tile(const AttentionHead& h, const float* scores, int64_t score_row, int64_t keys,
                                        int64_t j, const float* factor, float* out) {
    Vec acc[kRows][kCols] = {};
    for (int64_t k = 0; k < keys; ++k) {
      Vec v[kCols];
#pragma GCC unroll 4
      for (int c = 0; c < kCols; ++c) v[c] = load(h.v + k * h.v_row + j + c * W);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const float x = scores[r * score_row + k];
#pragma GCC unroll 4
        for (int c = 0; c < kCols; ++c) simd::multiply_add(acc[r][c], x, v[c]);
      }
    }
    for (int r = 0; r < kRows; ++r)
      for (int c = 0; c < kCols; ++c) store(out + r * h.out_row + j + c * W, acc[r][c] * factor[r]);
  }

  template <int kRows>
  PLANISH_INLINE static void values_of(const AttentionHead& h, const float* scores, int64_t score_row, int64_t keys,
                                       const float* factor, float* out) {
    int64_t j = 0;
    for (; j + C * W <= h.dv; j += C * W) value_tile<kRows, C>(h, scores, score_row, keys, j, factor, out);
    for (; j + W <= h.dv; j += W) value_tile<kRows, 1>(h, scores, score_row, keys, j, factor, out);
    for (; j < h.dv; ++j)
      for (int r = 0; r < kRows; ++r) {
        float sum = 0;
        for (int64_t k = 0; k < keys; ++k) sum += scores[r * score_row + k] * h.v[k * h.v_row + j];
        out[r * h.out_row + j] = sum * factor[r];
      }
  }

  typedef int32_t Ints __attribute__((vector_size(W * sizeof(int32_t))));

  /// f over all lanes: by quarters of a cache line, then by halves.
  template <typename F>
  PLANISH_INLINE static float over_lanes(Vec v, F f) {
    float lanes[W];
    store(lanes, v);
    __m128 part = _mm_loadu_ps(lanes);
#pragma GCC unroll 4
    for (int l = kSquare; l < W; l += kSquare) part = f(part, _mm_loadu_ps(lanes + l));
    part = f(part, _mm_movehl_ps(part, part));
    return _mm_cvtss_f32(f(part, _mm_shuffle_ps(part, part, 1)));
  }
  PLANISH_INLINE static float largest(Vec v) {
    return over_lanes(
        v, [](__m128 a, __m128 b) __attribute__((always_inline)) { return _mm_max_ps(a, b); });
  }
  PLANISH_INLINE static float sum_of(Vec v) {
    return over_lanes(
        v, [](__m128 a, __m128 b) __attribute__((always_inline)) { return _mm_add_ps(a, b); });
  }

  /// Scores times scale plus mask, in place; returns the largest. Scores behind `keys` up to a whole vector become
  /// -inf.
  PLANISH_INLINE static float finish_scores(const AttentionHead& h, int64_t row, int64_t keys, float* scores) {
    const float* mask = h.mask != nullptr ? h.mask + row * h.mask_row : nullptr;
    const int64_t whole = keys / W * W;
    Vec top = Vec{} - __builtin_inff();
    for (int64_t k = 0; k < whole; k += W) {
      Vec s = load(scores + k) * h.scale;
      if (mask != nullptr) s += h.mask_col == 0 ? Vec{} + mask[0] : load(mask + k);
      store(scores + k, s);
      top = top < s ? s : top;
    }
    float best = largest(top);
    for (int64_t k = whole; k < keys; ++k) {
      scores[k] = scores[k] * h.scale + (mask != nullptr ? mask[k * h.mask_col] : 0.0F);
      best = best < scores[k] ? scores[k] : best;
    }
    for (int64_t k = keys; k < padded(keys); ++k) scores[k] = -__builtin_inff();
    return best;
  }

  /// scores[k] = e^(scores[k] - top) in place, by whole vectors; returns the sum.
  PLANISH_INLINE static float exponentials(int64_t keys, float top, float* scores) {
    Vec sum{};
    for (int64_t k = 0; k < keys; k += W) {
      const Vec e = exp_negative(load(scores + k) - top);
      store(scores + k, e);
      sum += e;
    }
    return sum_of(sum);
  }

  /// e^x for x <= 0, 0 where the result would not be a normal number, NaN for NaN: 2^k 2^f with |f| <= 1/2, and for 2^f
  /// the polynomial of least relative error (8e-8). Adding 1.5 * 2^23 rounds to k and leaves it in the low bits.
  PLANISH_INLINE static Vec exp_negative(Vec x) {
    constexpr float kMagic = 12582912.0F;
    constexpr float kLeast = -87.0F;
    constexpr float kLog2e = 1.44269504F;
    constexpr int32_t kOne = 127 << 23;  // the bits of 1
    const Vec shifted = x * kLog2e + kMagic;
    const Vec f = x * kLog2e - (shifted - kMagic);
    Vec p = f * 0.00132764725F + 0.00967554189F;
    p = p * f + 0.0555071309F;
    p = p * f + 0.240221202F;
    p = p * f + 0.693146944F;
    p = p * f + 1.00000012F;
    const Vec y = p * reinterpret_cast<Vec>((reinterpret_cast<Ints>(shifted) << 23) + kOne);
    return x < kLeast ? Vec{} : y;
  }

  /// Scores of a row as exponentials, 0 where it sees no key; `most` becomes the number of keys that it sees where that
  /// is more. `top`: the largest score by lane where scores are finished already. Returns what makes the row's sum 1.
  PLANISH_INLINE static float weigh_row(const AttentionHead& h, int64_t row, const Vec* top, float* scores,
                                        int64_t& most) {
    int64_t keys = h.sk;
    if (h.causal) {
      const int64_t visible = row + h.causal_offset + 1;
      keys = visible < h.sk ? (visible < 0 ? 0 : visible) : h.sk;
    }
    float sum = 0;
    if (keys > 0)
      sum = exponentials(keys, top != nullptr ? largest(*top) : finish_scores(h, row, keys, scores), scores);
    // A row that is masked everywhere has no maximum: like the reference, it attends to nothing.
    const bool hidden = h.mask != nullptr && sum != sum;
    for (int64_t k = hidden ? 0 : keys; k < h.sk; ++k) scores[k] = 0.0F;
    most = keys > most ? keys : most;
    return keys > 0 && !hidden ? 1.0F / sum : 0.0F;
  }

  static void weigh(const AttentionHead& h, int64_t row, int64_t rows, float* scores, int64_t score_row,
                    uint16_t* weights, int64_t weights_row) {
    const int64_t whole = padded(h.sk);
    for (int64_t r = 0; r < rows; ++r, scores += score_row, weights += weights_row) {
      int64_t most = 0;
      const float factor = weigh_row(h, row + r, nullptr, scores, most);
      for (int64_t k = h.sk; k < whole; ++k) scores[k] = 0.0F;
      for (int64_t k = 0; k < whole; k += W) {
        uint32_t lanes[W];
        store(reinterpret_cast<float*>(lanes), load(scores + k) * factor);
        // To nearest, ties to even.
        for (int l = 0; l < W; ++l)
          weights[k + l] = static_cast<uint16_t>((lanes[l] + 0x7fffU + ((lanes[l] >> 16) & 1U)) >> 16);
      }
      for (int64_t k = whole; k < weights_row; ++k) weights[k] = 0;
    }
  }

  template <int kRows>
  PLANISH_INLINE static void block(const AttentionHead& h, int64_t row, float* scratch) {
    const int64_t score_row = padded(h.sk);
    const bool early = finishes_early(h);
    Vec top[kRows];
    for (Vec& t : top) t = Vec{} - __builtin_inff();
    scores_of<kRows>(h, row, scratch, score_row, top);
    int64_t most = 0;
    float factor[kRows];
    for (int r = 0; r < kRows; ++r)
      factor[r] = weigh_row(h, row + r, early ? &top[r] : nullptr, scratch + r * score_row, most);
    values_of<kRows>(h, scratch, score_row, most, factor, h.out + row * h.out_row);
  }

  /// Rows by blocks of kRows, what remains by smaller ones.
  template <int kRows>
  PLANISH_INLINE static void blocks(const AttentionHead& h, int64_t row, int64_t end, float* scratch) {
    for (; row + kRows <= end; row += kRows) block<kRows>(h, row, scratch);
    if constexpr (kRows > 1)
      if (row < end) blocks<(kRows + 1) / 2>(h, row, end, scratch);
  }

  static void run(const AttentionHead& h, int64_t begin, int64_t end, float* scratch) {
    blocks<R>(h, begin, end, scratch);
  }
};

}  // namespace
}  // namespace planish::kernels
