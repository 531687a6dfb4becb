#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"

namespace planish::kernels {

/// Means of windows over channels-last images of bytes. Per axis: output position p looks at input positions
/// p * stride - pad + r * dilation; those outside add nothing. With n of a window's positions inside the image and
/// `count` the same number, or with `count_pads` that of positions inside the image and its pads (1 at least):
///   v = (sum of the n bytes - n * x_zero) * (factor / count),
///   y = v as f32, or round(v clamped to [low, high]) + y_zero as a byte.
struct ByteAveragePool {
  int64_t channels = 1;
  int64_t in_h = 1;
  int64_t in_w = 1;
  int64_t out_h = 1;
  int64_t out_w = 1;
  int64_t kernel_h = 1;
  int64_t kernel_w = 1;
  int64_t stride_h = 1;
  int64_t stride_w = 1;
  int64_t dilation_h = 1;
  int64_t dilation_w = 1;
  int64_t pad_top = 0;
  int64_t pad_left = 0;
  int64_t pad_bottom = 0;
  int64_t pad_right = 0;
  bool count_pads = false;
  bool x_signed = false;
  bool writes_floats = false;
  bool y_signed = false;
  int32_t x_zero = 0;
  int32_t y_zero = 0;
  float factor = 1;  ///< the input's step, divided by that of a byte of the output
  float low = 0;     ///< the output's lowest and highest byte less y_zero
  float high = 0;
};

/// Output lines line_begin..line_end-1 of one image. x: [in_h, in_w, channels]; y: [out_h, out_w, channels].
using ByteAveragePoolFn = void (*)(const ByteAveragePool& pool, const void* x, void* y, int64_t line_begin,
                                   int64_t line_end);

struct ByteAveragePoolKernel {
  std::string_view name;
  Isa isa = Isa::baseline;
  ByteAveragePoolFn fn = nullptr;
};

/// Fastest first; the last row runs everywhere.
std::span<const ByteAveragePoolKernel> byte_average_pool_kernels();
/// The first row that this machine can run.
const ByteAveragePoolKernel& best_byte_average_pool_kernel();

}  // namespace planish::kernels
