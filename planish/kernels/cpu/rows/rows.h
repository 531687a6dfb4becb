#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"

namespace planish::kernels {

inline constexpr int64_t kMaxColumns = 128;

/// Operations along one contiguous row of `n` f32 elements. y may be x.
struct RowKernels {
  std::string_view name;
  Isa isa;
  /// y = (x - mean) / sqrt(variance + epsilon) * scale + bias; bias may be null. Mean and variance in two passes over
  /// the row (it is in the cache), with partial sums per lane: error of the order of n/lanes roundings.
  void (*layer_norm)(int64_t n, const float* x, const float* scale, const float* bias, float epsilon, float* y);
  /// y = x / sqrt(mean(x^2) + epsilon) * scale
  void (*rms_norm)(int64_t n, const float* x, const float* scale, float epsilon, float* y);
  /// y = exp(x - max) / sum(exp(x - max))
  void (*softmax)(int64_t n, const float* x, float* y);
  /// Softmax down the columns of x [n, columns] with `stride` elements between rows; columns <= kMaxColumns.
  void (*softmax_columns)(int64_t n, int64_t columns, int64_t stride, const float* x, float* y);
  /// Sum of the row.
  float (*sum)(int64_t n, const float* x);
  /// Largest and smallest element; -inf and inf when n is 0. NaN when there is one.
  float (*max)(int64_t n, const float* x);
  float (*min)(int64_t n, const float* x);
  /// Sum of (x - mean)^2.
  float (*squares)(int64_t n, const float* x, float mean);
  /// y = (x - center) * scale + shift
  void (*affine)(int64_t n, const float* x, float center, float scale, float shift, float* y);
};

/// Fastest first; the last row runs everywhere.
std::span<const RowKernels> row_kernels();
const RowKernels& best_row_kernels();

}  // namespace planish::kernels
