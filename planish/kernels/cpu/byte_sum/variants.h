#pragma once

#include "planish/kernels/cpu/byte_sum/byte_sum.h"

namespace planish::kernels {

void byte_sum_avx2(const ByteSum& sum, int64_t n, const void* a, const void* b, uint8_t* y);
void byte_sum_avx512(const ByteSum& sum, int64_t n, const void* a, const void* b, uint8_t* y);

}  // namespace planish::kernels
