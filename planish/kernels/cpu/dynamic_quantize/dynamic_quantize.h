#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"

namespace planish::kernels {

/// The two passes of DynamicQuantizeLinear over n contiguous elements.
struct DynamicQuantizeKernels {
  std::string_view id;
  Isa isa = Isa::baseline;
  /// Smallest and largest of 0 and the elements; NaN does not count.
  void (*range)(int64_t n, const float* x, float* low, float* high) = nullptr;
  /// y = saturate(round-to-even(x / scale) + zero); NaN becomes `zero`, which lies in 0..255.
  void (*quantize)(int64_t n, const float* x, float scale, int32_t zero, uint8_t* y) = nullptr;
};

/// Fastest first; the last runs on every CPU.
std::span<const DynamicQuantizeKernels> dynamic_quantize_kernels();
/// The first that this CPU has.
const DynamicQuantizeKernels& best_dynamic_quantize_kernels();

}  // namespace planish::kernels
