#pragma once

// The loops behind every instruction set; included by one file per instruction set and nothing else.

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
    for (int64_t p = 0; p < padded(sk); p += W)
      for (int64_t i = 0; i < d; ++i)
        for (int64_t l = 0; l < W; ++l) packed[p * d + i * W + l] = p + l < sk ? k[(p + l) * k_row + i] : 0.0F;
  }

  /// scores[r][p..] = scale * Q[r] . K for `kRows` rows and `kCols` panels.
  template <int kRows, int kCols>
  PLANISH_INLINE static void score_tile(const AttentionHead& h, const float* q, int64_t p, float* scores,
                                        int64_t score_row) {
    Vec acc[kRows][kCols] = {};
    const float* keys = h.packed_k + p * h.d;
    const int64_t panel = W * h.d;
    for (int64_t i = 0; i < h.d; ++i)
      for (int c = 0; c < kCols; ++c) {
        const Vec k = load(keys + c * panel + i * W);
        for (int r = 0; r < kRows; ++r) acc[r][c] += q[r * h.q_row + i] * k;
      }
    for (int r = 0; r < kRows; ++r)
      for (int c = 0; c < kCols; ++c) store(scores + r * score_row + p + c * W, acc[r][c] * h.scale);
  }

  template <int kRows>
  PLANISH_INLINE static void scores_of(const AttentionHead& h, const float* q, float* scores, int64_t score_row) {
    int64_t p = 0;
    for (; p + C * W <= score_row; p += C * W) score_tile<kRows, C>(h, q, p, scores, score_row);
    for (; p < score_row; p += W) score_tile<kRows, 1>(h, q, p, scores, score_row);
  }

  /// out[r][j..] = sum over keys of P[r][key] * V[key][j..] for `kRows` rows and `kCols` vectors.
  template <int kRows, int kCols>
  PLANISH_INLINE static void value_tile(const AttentionHead& h, const float* scores, int64_t score_row, int64_t keys,
                                        int64_t j, float* out) {
    Vec acc[kRows][kCols] = {};
    for (int64_t k = 0; k < keys; ++k)
      for (int c = 0; c < kCols; ++c) {
        const Vec v = load(h.v + k * h.v_row + j + c * W);
        for (int r = 0; r < kRows; ++r) acc[r][c] += scores[r * score_row + k] * v;
      }
    for (int r = 0; r < kRows; ++r)
      for (int c = 0; c < kCols; ++c) store(out + r * h.out_row + j + c * W, acc[r][c]);
  }

  template <int kRows>
  PLANISH_INLINE static void values_of(const AttentionHead& h, const float* scores, int64_t score_row, int64_t keys,
                                       float* out) {
    int64_t j = 0;
    for (; j + C * W <= h.dv; j += C * W) value_tile<kRows, C>(h, scores, score_row, keys, j, out);
    for (; j + W <= h.dv; j += W) value_tile<kRows, 1>(h, scores, score_row, keys, j, out);
    for (; j < h.dv; ++j)
      for (int r = 0; r < kRows; ++r) {
        float sum = 0;
        for (int64_t k = 0; k < keys; ++k) sum += scores[r * score_row + k] * h.v[k * h.v_row + j];
        out[r * h.out_row + j] = sum;
      }
  }

  PLANISH_INLINE static void add_mask(const AttentionHead& h, int64_t row, int64_t keys, float* scores) {
    if (h.mask == nullptr) return;
    const float* mask = h.mask + row * h.mask_row;
    if (h.mask_col == 1) {
#pragma GCC ivdep
      for (int64_t k = 0; k < keys; ++k) scores[k] += mask[k];
    } else {
      for (int64_t k = 0; k < keys; ++k) scores[k] += mask[k * h.mask_col];
    }
  }

  template <int kRows>
  PLANISH_INLINE static void block(const AttentionHead& h, int64_t row, float* scratch) {
    const int64_t score_row = padded(h.sk);
    scores_of<kRows>(h, h.q + row * h.q_row, scratch, score_row);
    int64_t most = 0;
    for (int r = 0; r < kRows; ++r) {
      float* scores = scratch + r * score_row;
      int64_t keys = h.sk;
      if (h.causal) {
        const int64_t visible = row + r + h.causal_offset + 1;
        keys = visible < h.sk ? (visible < 0 ? 0 : visible) : h.sk;
      }
      add_mask(h, row + r, keys, scores);
      if (keys > 0) Rows<W>::softmax(keys, scores, scores);
      // A row that is masked everywhere has no maximum: like the reference, it attends to nothing.
      if (keys > 0 && scores[0] != scores[0])
        for (int64_t k = 0; k < keys; ++k) scores[k] = h.mask != nullptr ? 0.0F : scores[k];
      for (int64_t k = keys; k < h.sk; ++k) scores[k] = 0.0F;
      most = keys > most ? keys : most;
    }
    values_of<kRows>(h, scratch, score_row, most, h.out + row * h.out_row);
  }

  static void run(const AttentionHead& h, int64_t begin, int64_t end, float* scratch) {
    int64_t row = begin;
    for (; row + R <= end; row += R) block<R>(h, row, scratch);
    for (; row < end; ++row) block<1>(h, row, scratch);
  }
};

}  // namespace
}  // namespace planish::kernels
