#include "planish/base/simd/x86_avx512.h"
#include "planish/kernels/cpu/byte_gate/generic.h"
#include "planish/kernels/cpu/byte_gate/variants.h"

namespace planish::kernels {

void byte_gate_avx512(const ByteGate& g, int64_t rows, const void* x, const float* factors, uint8_t* y) {
  byte_gate_generic<simd::Avx512Floats>(g, rows, x, factors, y);
}

}  // namespace planish::kernels
