#pragma once

// The loops behind every instruction set; included by one file per instruction set and nothing else.

#include <immintrin.h>

#include <cstdint>

#include "planish/base/macros.h"
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

  /// scores[r][p..] = Q[r] . K for `kRows` rows and `kCols` panels.
  template <int kRows, int kCols>
  PLANISH_INLINE static void score_tile(const AttentionHead& h, const float* q, int64_t p, float* scores,
                                        int64_t score_row) {
    Vec acc[kRows][kCols] = {};
    const float* keys = h.packed_k + p * h.d;
    const int64_t panel = W * h.d;
    for (int64_t i = 0; i < h.d; ++i)
#pragma GCC unroll 4
      for (int c = 0; c < kCols; ++c) {
        const Vec k = load(keys + c * panel + i * W);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) acc[r][c] += q[r * h.q_row + i] * k;
      }
    for (int r = 0; r < kRows; ++r)
      for (int c = 0; c < kCols; ++c) store(scores + r * score_row + p + c * W, acc[r][c]);
  }

  template <int kRows>
  PLANISH_INLINE static void scores_of(const AttentionHead& h, const float* q, float* scores, int64_t score_row) {
    int64_t p = 0;
    for (; p + C * W <= score_row; p += C * W) score_tile<kRows, C>(h, q, p, scores, score_row);
    for (; p < score_row; p += W) score_tile<kRows, 1>(h, q, p, scores, score_row);
  }

  /// out[r][j..] = factor[r] * sum over keys of P[r][key] * V[key][j..] for `kRows` rows and `kCols` vectors.
  template <int kRows, int kCols>
  PLANISH_INLINE static void value_tile(const AttentionHead& h, const float* scores, int64_t score_row, int64_t keys,
                                        int64_t j, const float* factor, float* out) {
    Vec acc[kRows][kCols] = {};
    for (int64_t k = 0; k < keys; ++k)
#pragma GCC unroll 4
      for (int c = 0; c < kCols; ++c) {
        const Vec v = load(h.v + k * h.v_row + j + c * W);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) acc[r][c] += scores[r * score_row + k] * v;
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

  PLANISH_INLINE static float largest(Vec v) {
    float lanes[W];
    store(lanes, v);
    for (int step = W / 2; step > 0; step /= 2)
      for (int l = 0; l < step; ++l) lanes[l] = lanes[l] < lanes[l + step] ? lanes[l + step] : lanes[l];
    return lanes[0];
  }

  PLANISH_INLINE static float sum_of(Vec v) {
    float lanes[W];
    store(lanes, v);
    for (int step = W / 2; step > 0; step /= 2)
      for (int l = 0; l < step; ++l) lanes[l] += lanes[l + step];
    return lanes[0];
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

  /// e^x for x <= 0, 0 where the result would not be a normal number, NaN for NaN: 2^k e^r with |r| <= ln2 / 2, as
  /// simd::exp_f32. Adding 1.5 * 2^23 rounds to k and leaves it in the low bits.
  PLANISH_INLINE static Vec exp_negative(Vec x) {
    typedef int32_t Ints __attribute__((vector_size(W * sizeof(int32_t))));
    constexpr float kMagic = 12582912.0F;
    constexpr float kLeast = -87.0F;
    const Vec shifted = x * 1.44269504F + kMagic;
    const Vec k = shifted - kMagic;
    Vec r = x - k * 0.693359375F;
    r = r + k * 2.12194440e-4F;
    Vec p = r * (1.0F / 720.0F) + 1.0F / 120.0F;
    p = p * r + 1.0F / 24.0F;
    p = p * r + 1.0F / 6.0F;
    p = p * r + 0.5F;
    p = p * r + 1.0F;
    p = p * r + 1.0F;
    Ints exponent;
    Ints bits;
    __builtin_memcpy(&exponent, &shifted, sizeof(Vec));
    __builtin_memcpy(&bits, &p, sizeof(Vec));
    bits += exponent << 23;
    Vec y;
    __builtin_memcpy(&y, &bits, sizeof(Vec));
    y = x < kLeast ? Vec{} : y;
    return x == x ? y : x;
  }

  template <int kRows>
  PLANISH_INLINE static void block(const AttentionHead& h, int64_t row, float* scratch) {
    const int64_t score_row = padded(h.sk);
    scores_of<kRows>(h, h.q + row * h.q_row, scratch, score_row);
    int64_t most = 0;
    float factor[kRows];
    for (int r = 0; r < kRows; ++r) {
      float* scores = scratch + r * score_row;
      int64_t keys = h.sk;
      if (h.causal) {
        const int64_t visible = row + r + h.causal_offset + 1;
        keys = visible < h.sk ? (visible < 0 ? 0 : visible) : h.sk;
      }
      float sum = 0;
      if (keys > 0) sum = exponentials(keys, finish_scores(h, row + r, keys, scores), scores);
      factor[r] = keys > 0 ? 1.0F / sum : 0.0F;
      // A row that is masked everywhere has no maximum: like the reference, it attends to nothing.
      const bool hidden = h.mask != nullptr && sum != sum;
      for (int64_t k = hidden ? 0 : keys; k < h.sk; ++k) scores[k] = 0.0F;
      if (hidden) factor[r] = 0.0F;
      most = keys > most ? keys : most;
    }
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
