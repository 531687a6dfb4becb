#pragma once

#include "planish/kernels/cpu/attention/attention.h"

namespace planish::kernels {

extern const AttentionKernel kAttentionAvx2;
extern const AttentionKernel kAttentionAvx512;

}  // namespace planish::kernels
