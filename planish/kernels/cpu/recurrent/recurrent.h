#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"

namespace planish::kernels {

/// Columns of a panel of packed weights, on every instruction set.
inline constexpr int64_t kRecurrentPanel = 16;

/// One product of a recurrent layer: y[r, j] = from[r, j] + sum over k of x[r, k] * w[k, j].
struct RecurrentProduct {
  int64_t rows = 0;
  int64_t panels = 0;
  int64_t depth = 0;
  const float* x = nullptr;  ///< [rows, depth]
  int64_t x_row = 0;         ///< elements between rows
  const float* w = nullptr;  ///< [panels][depth][kRecurrentPanel]
  const float* from = nullptr;
  int64_t from_row = 0;  ///< 0: one row for all
  float* y = nullptr;
  int64_t y_row = 0;
};

/// f32 loops of RNN, GRU and LSTM. The gates are functions of sums of n hidden elements each.
struct RecurrentKernels {
  std::string_view name;
  Isa isa;
  void (*product)(const RecurrentProduct& p);
  /// c = sigmoid(f) c + sigmoid(i) tanh(g); h = sigmoid(o) tanh(c). `c` may be `c_before`.
  void (*lstm)(int64_t n, const float* i, const float* o, const float* f, const float* g, const float* c_before,
               float* c, float* h);
  /// out = a * sigmoid(x)
  void (*gated)(int64_t n, const float* x, const float* a, float* out);
  /// h = (1 - z) tanh(candidate) + z h_before with z = sigmoid(update).
  void (*gru)(int64_t n, const float* update, const float* candidate, const float* h_before, float* h);
  /// y = tanh(x)
  void (*tanh)(int64_t n, const float* x, float* y);
};

/// Fastest first; the last row runs everywhere.
std::span<const RecurrentKernels> recurrent_kernels();
const RecurrentKernels& best_recurrent_kernels();

}  // namespace planish::kernels
