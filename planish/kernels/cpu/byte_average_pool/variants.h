#pragma once

#include "planish/kernels/cpu/byte_average_pool/byte_average_pool.h"

namespace planish::kernels {

void byte_average_pool_avx2(const ByteAveragePool& p, const void* x, void* y, int64_t line_begin, int64_t line_end);
void byte_average_pool_avx512(const ByteAveragePool& p, const void* x, void* y, int64_t line_begin, int64_t line_end);

}  // namespace planish::kernels
