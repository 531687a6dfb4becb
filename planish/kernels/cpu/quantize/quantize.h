#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"

namespace planish::kernels {

/// y = clamp(round-to-even(x * factor), low, high) + zero, where low + zero and high + zero are the ends of the
/// output's type. NaN counts as 0.
struct Quantization {
  float factor = 1;
  float low = 0;
  float high = 0;
  int32_t zero = 0;
  bool is_signed = false;
};

/// n contiguous elements.
using QuantizeFn = void (*)(const Quantization& q, int64_t n, const float* x, uint8_t* y);

/// n pixels of three planes of floats, `plane` elements apart, as n times three bytes: what a picture becomes in front
/// of the first layer.
using QuantizePixelsFn = void (*)(const Quantization& q, int64_t n, const float* x, int64_t plane, uint8_t* y);

struct QuantizeKernel {
  std::string_view name;
  Isa isa = Isa::baseline;
  QuantizeFn fn = nullptr;
  QuantizePixelsFn pixels = nullptr;
};

/// Fastest first; the last row runs everywhere.
std::span<const QuantizeKernel> quantize_kernels();
/// The first row that this machine can run.
const QuantizeKernel& best_quantize_kernel();

}  // namespace planish::kernels
