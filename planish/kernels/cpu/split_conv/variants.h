#pragma once

#include "planish/kernels/cpu/split_conv/split_conv.h"

namespace planish::kernels {

extern const SplitConvKernel kSplitConvAmx;

}  // namespace planish::kernels
