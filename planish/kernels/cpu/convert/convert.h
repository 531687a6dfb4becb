#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"

namespace planish::kernels {

/// Conversions of n contiguous elements between f32 and the bits of a 16-bit float or bytes; to nearest, ties to even.
/// Values beyond the range become infinite, NaN stays NaN. Towards bytes f32 values must be whole numbers of their
/// range. Input and output do not overlap.
struct ConvertKernels {
  std::string_view id;
  Isa isa = Isa::baseline;
  void (*f16_to_f32)(int64_t n, const uint16_t* x, float* y) = nullptr;
  void (*f32_to_f16)(int64_t n, const float* x, uint16_t* y) = nullptr;
  void (*bf16_to_f32)(int64_t n, const uint16_t* x, float* y) = nullptr;
  void (*f32_to_bf16)(int64_t n, const float* x, uint16_t* y) = nullptr;
  void (*i8_to_f32)(int64_t n, const int8_t* x, float* y) = nullptr;
  void (*u8_to_f32)(int64_t n, const uint8_t* x, float* y) = nullptr;
  void (*f32_to_i8)(int64_t n, const float* x, int8_t* y) = nullptr;
  void (*f32_to_u8)(int64_t n, const float* x, uint8_t* y) = nullptr;
};

/// Fastest first; the last runs on every CPU.
std::span<const ConvertKernels> convert_kernels();
/// The fastest that this CPU can run.
const ConvertKernels& best_convert_kernels();

}  // namespace planish::kernels
