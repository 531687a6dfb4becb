#include "planish/kernels/cpu/gemm/strassen.h"
#include "planish/kernels/cpu/gemm/variants.h"

namespace planish::kernels {

constinit const GemmKernel kGemmAvx512 = Gemm<16, 9, 3>::direct("gemm_f32_avx512", Isa::avx512);
constinit const GemmKernel kStrassenAvx512 = Strassen<16, 9, 3>::kernel("strassen_f32_avx512", Isa::avx512);

}  // namespace planish::kernels
