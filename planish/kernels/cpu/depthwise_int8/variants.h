#pragma once

#include "planish/kernels/cpu/depthwise_int8/depthwise_int8.h"

namespace planish::kernels {

extern const DepthwiseInt8Kernel kDepthwiseAvx512Vnni;
extern const DepthwiseInt8Kernel kDepthwiseAvxVnni;
extern const DepthwiseInt8Kernel kDepthwiseAvx2Bytes;
extern const DepthwiseInt8Kernel kDepthwiseAvx2Words;

}  // namespace planish::kernels
