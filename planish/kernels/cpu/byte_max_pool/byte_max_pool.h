#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"

namespace planish::kernels {

/// Largest values of windows over channels-last images of bytes. Per axis: output position p looks at input positions
/// p * stride - pad + r * dilation; positions outside do not count, and a window without any gives the type's lowest
/// value.
struct ByteMaxPool {
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
  bool is_signed = false;
};

/// Output lines line_begin..line_end-1 of one image. x: [in_h, in_w, channels]; y: [out_h, out_w, channels].
using ByteMaxPoolFn = void (*)(const ByteMaxPool& pool, const uint8_t* x, uint8_t* y, int64_t line_begin,
                               int64_t line_end);

struct ByteMaxPoolKernel {
  std::string_view name;
  Isa isa = Isa::baseline;
  ByteMaxPoolFn fn = nullptr;
};

/// Fastest first; the last row runs everywhere.
std::span<const ByteMaxPoolKernel> byte_max_pool_kernels();
/// The first row that this machine can run.
const ByteMaxPoolKernel& best_byte_max_pool_kernel();

}  // namespace planish::kernels
