#pragma once

#include "planish/kernels/cpu/bf16_gemm/bf16_gemm.h"

namespace planish::kernels {

extern const Bf16GemmKernel kBf16GemmAmx;
extern const Bf16GemmKernel kBf16GemmAvx512;

}  // namespace planish::kernels
