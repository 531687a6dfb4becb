#include "planish/kernels/cpu/gemm/strassen.h"
#include "planish/kernels/cpu/gemm/variants.h"

namespace planish::kernels {

constinit const GemmKernel kGemmAvx2 = Gemm<8, 4, 3>::direct("gemm_f32_avx2", Isa::avx2);
constinit const GemmKernel kStrassenAvx2 = Strassen<8, 4, 3>::kernel("strassen_f32_avx2", Isa::avx2);

}  // namespace planish::kernels
