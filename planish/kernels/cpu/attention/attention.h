#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"

namespace planish::kernels {

/// One head of scaled dot product attention over f32: out = softmax(scale * Q K^T + mask) V.
/// Rows are contiguous; `*_row` are strides between rows in elements.
struct AttentionHead {
  int64_t sq = 0;  ///< query rows
  int64_t sk = 0;  ///< key and value rows
  int64_t d = 0;   ///< columns of Q and K
  int64_t dv = 0;  ///< columns of V
  const float* q = nullptr;
  const float* v = nullptr;
  const float* packed_k = nullptr;  ///< from pack_keys
  int64_t q_row = 0;
  int64_t v_row = 0;
  const float* mask = nullptr;  ///< added to the scores; may be null
  int64_t mask_row = 0;         ///< 0: one row for all queries
  int64_t mask_col = 1;         ///< 0: one value for all keys
  bool causal = false;          ///< query i sees keys up to i + causal_offset only
  int64_t causal_offset = 0;
  float scale = 1;
  float* out = nullptr;
  int64_t out_row = 0;
};

/// Source of the blocking: scores of one block of query rows stay in the first-level cache, so that the softmax and the
/// product with V read them there (Dao et al. 2022, without their online rescaling, since whole rows of scores fit).
struct AttentionKernel {
  std::string_view name;
  Isa isa;
  int64_t block_rows;  ///< query rows that run() handles at a time
  /// Floats that pack_keys writes.
  int64_t (*packed_keys_size)(int64_t sk, int64_t d);
  /// K [sk, d] (row stride k_row) as panels of vector width: [sk/W][d][W], padded with zeros.
  void (*pack_keys)(int64_t sk, int64_t d, const float* k, int64_t k_row, float* packed);
  /// Floats of scratch that run() needs.
  int64_t (*scratch_size)(int64_t sk);
  /// Query rows [begin, end).
  void (*run)(const AttentionHead& head, int64_t begin, int64_t end, float* scratch);
  /// The softmax alone: `rows` rows of products Q K^T from query row `row` on, score_row apart (a multiple of 16, at
  /// least sk), become weights in bfloat16, weights_row apart (a multiple of 16, at most score_row); behind the last
  /// key they are 0. Overwrites the scores. Reads sk, mask, causal and scale of the head.
  void (*weigh)(const AttentionHead& head, int64_t row, int64_t rows, float* scores, int64_t score_row,
                uint16_t* weights, int64_t weights_row);
};

/// Fastest first; the last row runs everywhere.
std::span<const AttentionKernel> attention_kernels();
const AttentionKernel& best_attention_kernel();

}  // namespace planish::kernels
