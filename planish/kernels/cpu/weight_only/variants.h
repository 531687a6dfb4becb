#pragma once

#include "planish/kernels/cpu/weight_only/weight_only.h"

namespace planish::kernels {

extern const WeightOnlyKernel kWeightOnlyAvx512;
extern const WeightOnlyKernel kWeightOnlyAvx2;

}  // namespace planish::kernels
