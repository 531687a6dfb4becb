#pragma once

#include "planish/kernels/cpu/igemm/igemm.h"

namespace planish::kernels {

extern const IgemmKernel kIgemmAmx;
extern const IgemmKernel kIgemmAvx512Vnni;
extern const IgemmKernel kIgemmAvxVnni;
extern const IgemmKernel kIgemmAvx2Bytes;
extern const IgemmKernel kIgemmAvx2Words;

}  // namespace planish::kernels
