#pragma once

#include "planish/kernels/cpu/byte_max_pool/byte_max_pool.h"

namespace planish::kernels {

void byte_max_pool_avx2(const ByteMaxPool& p, const uint8_t* x, uint8_t* y, int64_t line_begin, int64_t line_end);
void byte_max_pool_avx512(const ByteMaxPool& p, const uint8_t* x, uint8_t* y, int64_t line_begin, int64_t line_end);

}  // namespace planish::kernels
