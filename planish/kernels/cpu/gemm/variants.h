#pragma once

#include "planish/kernels/cpu/gemm/gemm.h"

namespace planish::kernels {

extern const GemmKernel kGemmAvx2;
extern const GemmKernel kGemmAvx512;
extern const GemmKernel kStrassenAvx2;
extern const GemmKernel kStrassenAvx512;

}  // namespace planish::kernels
