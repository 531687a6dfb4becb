#pragma once

#include "planish/kernels/cpu/byte_gate/byte_gate.h"

namespace planish::kernels {

void byte_gate_avx2(const ByteGate& g, int64_t rows, const void* x, const float* factors, uint8_t* y);
void byte_gate_avx512(const ByteGate& g, int64_t rows, const void* x, const float* factors, uint8_t* y);

}  // namespace planish::kernels
