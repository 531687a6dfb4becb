#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"
#include "planish/kernels/cpu/float_epilogue/epilogue.h"

namespace planish::kernels {

/// A convolution with one filter per channel, over images whose channels lie in vectors. Strides in floats.
struct DepthwiseProblem {
  int64_t in_h = 1, in_w = 1, out_h = 1, out_w = 1;
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t dilation_h = 1, dilation_w = 1;
  int64_t pad_top = 0, pad_left = 0;
  int64_t channels = 0;
  bool whole_vectors = false;  ///< channels are stored up to a multiple of the width (blocked layouts)
  int64_t x_image = 0, x_vector = 0, x_row = 0, x_pixel = 0;
  int64_t y_image = 0, y_vector = 0, y_row = 0, y_pixel = 0;
};

/// The part of the work that one call does: lines [row, row + rows) of one image for one vector of channels.
struct DepthwisePart {
  int64_t image = 0;
  int64_t vector = 0;
  int64_t row = 0, rows = 0;
};

struct DepthwiseKernel {
  std::string_view name;
  Isa isa;
  int64_t width;  ///< floats per vector
  /// `weights`: [vector][tap][channel of the vector].
  void (*run)(const DepthwiseProblem& p, const DepthwisePart& part, const float* x, const float* weights,
              const FloatEpilogue& epilogue, float* y);
};

/// Fastest first; the last row runs everywhere.
std::span<const DepthwiseKernel> depthwise_kernels();
const DepthwiseKernel& best_depthwise_kernel();

}  // namespace planish::kernels
