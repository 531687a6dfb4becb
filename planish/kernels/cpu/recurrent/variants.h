#pragma once

#include "planish/kernels/cpu/recurrent/recurrent.h"

namespace planish::kernels {

extern const RecurrentKernels kRecurrentAvx2;
extern const RecurrentKernels kRecurrentAvx512;

}  // namespace planish::kernels
