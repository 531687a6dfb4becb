#pragma once

#include "planish/kernels/cpu/grouped_error/grouped_error.h"

namespace planish::kernels {

void grouped_error_avx2(const GroupedRow& row, const StepRange& steps, float* sums, float* squares, int64_t stride);
void grouped_error_avx512(const GroupedRow& row, const StepRange& steps, float* sums, float* squares, int64_t stride);

}  // namespace planish::kernels
