#pragma once

#include "planish/kernels/cpu/rows/rows.h"

namespace planish::kernels {

extern const RowKernels kRowsAvx2;
extern const RowKernels kRowsAvx512;

}  // namespace planish::kernels
