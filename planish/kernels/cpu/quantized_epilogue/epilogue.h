#pragma once

#include <cstdint>

#include "planish/kernels/cpu/pointwise/pointwise.h"

namespace planish::kernels {

/// Types that quantised layers read and write; i32 is for the sums themselves, without anything that follows.
enum class QuantizedType : uint8_t { none, i8, u8, f32, i32 };

/// Elements behind the last channel that `scale`, `bias` and integer start values must have, so that whole vectors can
/// be read from every channel on.
inline constexpr int64_t kChannelPadding = 64;

/// What a quantised layer does to its integer sums:
///   v = sum * scale[c] + bias[c]; r = R * r_scale + r_offset;
///   v = clamp(act(v + r)), or clamp(act(v)) + r when `residual_last`;
///   Y = round-to-even(clamp(v * y_factor, q_low, q_high)) + y_zero for bytes, v for f32.
/// Where there is no activation but a clamp, and no residual behind it, the caller folds y_factor into scale, bias and
/// the residual's numbers, and both clamps into one: `folded`.
struct QuantizedEpilogue {
  const float* scale = nullptr;  ///< per output channel, padded by kChannelPadding
  const float* bias = nullptr;   ///< likewise
  QuantizedType r_type = QuantizedType::none;
  const void* r = nullptr;  ///< laid out like y
  float r_scale = 1;
  float r_offset = 0;
  bool residual_last = false;
  PointwiseFn act = nullptr;  ///< nullptr: none
  PointwiseOp act_op = PointwiseOp::identity;
  float act_alpha = 0;
  float act_beta = 0;
  QuantizedType y_type = QuantizedType::i8;
  void* y = nullptr;
  int64_t y_row = 0;  ///< elements from one row (pixel) to the next, in y and r
  bool folded = true;
  float low = 0;  ///< clamp behind the activation; when folded, that of the output too (for bytes in steps of y)
  float high = 0;
  float y_factor = 1;
  float q_low = 0;  ///< smallest and largest value of the output type, less y_zero
  float q_high = 0;
  int32_t y_zero = 0;
  /// No sum that is scaled and has its bias is beyond 32 bits, whatever the input: vectors may clamp after rounding.
  bool within_32_bits = false;
};

}  // namespace planish::kernels
