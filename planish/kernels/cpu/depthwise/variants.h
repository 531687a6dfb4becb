#pragma once

#include "planish/kernels/cpu/depthwise/depthwise.h"

namespace planish::kernels {

extern const DepthwiseKernel kDepthwiseAvx2;
extern const DepthwiseKernel kDepthwiseAvx512;

}  // namespace planish::kernels
