#include "planish/kernels/cpu/bin_counts/bin_counts.h"

#include <array>

#include "planish/kernels/cpu/bin_counts/generic.h"
#include "planish/kernels/cpu/bin_counts/variants.h"

namespace planish::kernels {
namespace {

uint64_t add_bins_baseline(const uint16_t* counts, uint32_t weight, uint64_t* sums) {
  return add_bins_generic(counts, weight, sums);
}

constexpr std::array kKernels{
    BinCountsKernel{"bin_counts_avx512", Isa::avx512, count_runs_avx512, add_bins_avx512},
    BinCountsKernel{"bin_counts_avx2", Isa::avx2, count_runs_avx2, add_bins_avx2},
    BinCountsKernel{"bin_counts_baseline", Isa::baseline, count_runs_generic<4>, add_bins_baseline},
};

}  // namespace

std::span<const BinCountsKernel> bin_counts_kernels() { return kKernels; }

const BinCountsKernel& best_bin_counts_kernel() {
  for (const BinCountsKernel& k : kKernels)
    if (cpu_features().has(k.isa)) return k;
  return kKernels.back();
}

}  // namespace planish::kernels
