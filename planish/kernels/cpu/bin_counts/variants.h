#pragma once

#include "planish/kernels/cpu/bin_counts/bin_counts.h"

namespace planish::kernels {

void count_runs_avx2(const float* x, int64_t runs, int64_t step, float per_width, uint16_t* counts);
void count_runs_avx512(const float* x, int64_t runs, int64_t step, float per_width, uint16_t* counts);
uint64_t add_bins_avx2(const uint16_t* counts, uint32_t weight, uint64_t* sums);
uint64_t add_bins_avx512(const uint16_t* counts, uint32_t weight, uint64_t* sums);

}  // namespace planish::kernels
