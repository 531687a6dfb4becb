#include "planish/kernels/cpu/taps/taps.h"

#include <array>

#include "planish/base/simd/portable.h"
#include "planish/kernels/cpu/taps/generic.h"
#include "planish/kernels/cpu/taps/variants.h"

namespace planish::kernels {
namespace {

void taps_baseline(int64_t n, int64_t taps, int64_t stride, const int32_t* index, const float* weight, const float* x,
                   bool accumulate, float* y) {
  taps_generic<simd::PortableFloats>(n, taps, stride, index, weight, x, accumulate, y);
}

constexpr std::array kKernels{
    TapsKernel{"taps_f32_avx512", Isa::avx512, taps_avx512},
    TapsKernel{"taps_f32_avx2", Isa::avx2, taps_avx2},
    TapsKernel{"taps_f32_baseline", Isa::baseline, taps_baseline},
};

}  // namespace

std::span<const TapsKernel> taps_kernels() { return kKernels; }

const TapsKernel& best_taps_kernel() {
  for (const TapsKernel& k : kKernels)
    if (cpu_features().has(k.isa)) return k;
  return kKernels.back();
}

}  // namespace planish::kernels
