#pragma once

#include "planish/kernels/cpu/stem_conv/stem_conv.h"

namespace planish::kernels {

extern const StemConvKernel kStemConvAvx2;
extern const StemConvKernel kStemConvAvx512;

}  // namespace planish::kernels
