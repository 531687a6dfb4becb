#pragma once

#include "planish/kernels/cpu/winograd/winograd.h"

namespace planish::kernels {

extern const WinogradKernel kWinograd2Avx2;
extern const WinogradKernel kWinograd2Avx512;
extern const WinogradKernel kWinograd4Avx2;
extern const WinogradKernel kWinograd4Avx512;

}  // namespace planish::kernels
