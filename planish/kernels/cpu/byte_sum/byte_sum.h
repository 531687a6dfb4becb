#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"

namespace planish::kernels {

/// A sum of two quantised tensors, quantised again: y = round-to-even(clamp(a * a_factor + b * b_factor + offset, low,
/// high)) + zero, which must lie within the output's type.
struct ByteSum {
  float a_factor = 1;
  float b_factor = 1;
  float offset = 0;
  float low = 0;
  float high = 0;
  int32_t zero = 0;
  bool a_signed = false;
  bool b_signed = false;
  bool y_signed = false;
};

/// n contiguous elements; y may be a or b.
using ByteSumFn = void (*)(const ByteSum& sum, int64_t n, const void* a, const void* b, uint8_t* y);

struct ByteSumKernel {
  std::string_view name;
  Isa isa = Isa::baseline;
  ByteSumFn fn = nullptr;
};

/// Fastest first; the last row runs everywhere.
std::span<const ByteSumKernel> byte_sum_kernels();
/// The first row that this machine can run.
const ByteSumKernel& best_byte_sum_kernel();

}  // namespace planish::kernels
