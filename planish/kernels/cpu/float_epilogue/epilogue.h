#pragma once

#include <cstdint>

#include "planish/kernels/cpu/pointwise/pointwise.h"

namespace planish::kernels {

/// What a convolution does to a sum before it is stored: y = act(sum + bias + r), or act(sum + bias) + r when
/// `residual_last`.
struct FloatEpilogue {
  /// The activations that are applied in registers; `other` goes through `fn`.
  enum class Act : uint8_t { clamp, swish, hard_swish, gelu, other };
  const float* bias = nullptr;      ///< one float per filter, as many as are stored; may be null
  const float* residual = nullptr;  ///< laid out like the output; may be null
  bool residual_last = false;
  Act act = Act::clamp;
  float low = -__builtin_inff();  ///< Act::clamp: none, Relu and Clip are bounds
  float high = __builtin_inff();
  PointwiseFn fn = nullptr;  ///< Act::other
  PointwiseOp op = PointwiseOp::identity;
  float alpha = 0, beta = 0;  ///< of `op`
};

/// Sets the activation: `op` with its ONNX parameters, in registers where that is possible.
void set_activation(FloatEpilogue& epilogue, PointwiseOp op, float alpha, float beta);

}  // namespace planish::kernels
