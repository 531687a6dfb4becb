#include "planish/kernels/cpu/byte_sum/byte_sum.h"

#include <array>

#include "planish/base/simd/portable.h"
#include "planish/kernels/cpu/byte_sum/generic.h"
#include "planish/kernels/cpu/byte_sum/variants.h"

namespace planish::kernels {
namespace {

constexpr std::array kKernels{
    ByteSumKernel{"byte_sum_avx512", Isa::avx512, byte_sum_avx512},
    ByteSumKernel{"byte_sum_avx2", Isa::avx2, byte_sum_avx2},
    ByteSumKernel{"byte_sum_baseline", Isa::baseline, byte_sum_generic<simd::PortableFloats>},
};

}  // namespace

std::span<const ByteSumKernel> byte_sum_kernels() { return kKernels; }

const ByteSumKernel& best_byte_sum_kernel() {
  for (const ByteSumKernel& k : kKernels)
    if (cpu_features().has(k.isa)) return k;
  return kKernels.back();
}

}  // namespace planish::kernels
