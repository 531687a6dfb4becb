#include "planish/kernels/cpu/grouped_error/grouped_error.h"

#include <array>

#include "planish/base/simd/portable.h"
#include "planish/kernels/cpu/grouped_error/generic.h"
#include "planish/kernels/cpu/grouped_error/variants.h"

namespace planish::kernels {
namespace {

constexpr std::array kKernels{
    GroupedErrorKernel{"grouped_error_avx512", Isa::avx512, grouped_error_avx512},
    GroupedErrorKernel{"grouped_error_avx2", Isa::avx2, grouped_error_avx2},
    GroupedErrorKernel{"grouped_error_baseline", Isa::baseline, grouped_error_generic<simd::PortableFloats>},
};

}  // namespace

std::span<const GroupedErrorKernel> grouped_error_kernels() { return kKernels; }

const GroupedErrorKernel& best_grouped_error_kernel() {
  for (const GroupedErrorKernel& k : kKernels)
    if (cpu_features().has(k.isa)) return k;
  return kKernels.back();
}

}  // namespace planish::kernels
