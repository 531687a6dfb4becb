#pragma once

// The rows that the table of inverted_residual_int8.cpp collects; one file per instruction set defines each.

#include "planish/kernels/cpu/inverted_residual_int8/inverted_residual_int8.h"

namespace planish::kernels {

extern const InvertedResidualKernel kInvertedResidualAvx512Vnni;
extern const InvertedResidualKernel kInvertedResidualAvxVnni;
extern const InvertedResidualKernel kInvertedResidualAvx2;

}  // namespace planish::kernels
