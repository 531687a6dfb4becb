#include "planish/kernels/cpu/bin_counts/generic.h"
#include "planish/kernels/cpu/bin_counts/variants.h"

namespace planish::kernels {

void count_runs_avx2(const float* x, int64_t runs, int64_t step, float per_width, uint16_t* counts) {
  count_runs_generic<8>(x, runs, step, per_width, counts);
}

uint64_t add_bins_avx2(const uint16_t* counts, uint32_t weight, uint64_t* sums) {
  return add_bins_generic(counts, weight, sums);
}

}  // namespace planish::kernels
