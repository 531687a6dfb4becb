#pragma once

#include "planish/kernels/cpu/convert/convert.h"

namespace planish::kernels {

extern const ConvertKernels kConvertAvx2;
extern const ConvertKernels kConvertAvx512;

}  // namespace planish::kernels
