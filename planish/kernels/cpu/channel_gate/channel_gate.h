#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"

namespace planish::kernels {

/// What squeeze-and-excite blocks do to images besides convolutions. Strides in floats; `rows` are pixels, or channels
/// of weights.
struct ChannelGateKernel {
  std::string_view name;
  Isa isa;
  /// sums[c] += the sum over r of x[r * stride + c], for c < columns.
  void (*add_columns)(int64_t rows, int64_t columns, int64_t stride, const float* x, float* sums);
  /// y[r * stride + c] = x[r * stride + c] * factors[c]; y may be x.
  void (*scale_columns)(int64_t rows, int64_t columns, int64_t stride, const float* x, const float* factors, float* y);
  /// y[r * columns + c] = x[r * columns + c] * factors[r]; y may be x.
  void (*scale_rows)(int64_t rows, int64_t columns, const float* x, const float* factors, float* y);
};

/// Fastest first; the last row runs everywhere.
std::span<const ChannelGateKernel> channel_gate_kernels();
/// The first row that this machine can run.
const ChannelGateKernel& best_channel_gate_kernel();

}  // namespace planish::kernels
