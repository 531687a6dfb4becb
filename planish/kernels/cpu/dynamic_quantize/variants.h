#pragma once

#include "planish/kernels/cpu/dynamic_quantize/dynamic_quantize.h"

namespace planish::kernels {

extern const DynamicQuantizeKernels kDynamicQuantizeAvx2;
extern const DynamicQuantizeKernels kDynamicQuantizeAvx512;

}  // namespace planish::kernels
