#pragma once

#include "planish/kernels/cpu/byte_lookup/byte_lookup.h"

namespace planish::kernels {

void byte_lookup_avx512(const uint8_t* table, int64_t n, const uint8_t* x, uint8_t* y);

}  // namespace planish::kernels
