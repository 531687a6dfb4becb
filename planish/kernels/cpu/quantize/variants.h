#pragma once

#include "planish/kernels/cpu/quantize/quantize.h"

namespace planish::kernels {

void quantize_avx2(const Quantization& q, int64_t n, const float* x, uint8_t* y);
void quantize_avx512(const Quantization& q, int64_t n, const float* x, uint8_t* y);
void quantize_pixels_avx2(const Quantization& q, int64_t n, const float* x, int64_t plane, uint8_t* y);
void quantize_pixels_avx512(const Quantization& q, int64_t n, const float* x, int64_t plane, uint8_t* y);

}  // namespace planish::kernels
