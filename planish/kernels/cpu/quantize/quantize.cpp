#include "planish/kernels/cpu/quantize/quantize.h"

#include <array>

#include "planish/base/simd/portable.h"
#include "planish/kernels/cpu/quantize/generic.h"
#include "planish/kernels/cpu/quantize/variants.h"

namespace planish::kernels {
namespace {

constexpr std::array kKernels{
    QuantizeKernel{"quantize_avx512", Isa::avx512, quantize_avx512},
    QuantizeKernel{"quantize_avx2", Isa::avx2, quantize_avx2},
    QuantizeKernel{"quantize_baseline", Isa::baseline, quantize_generic<simd::PortableFloats>},
};

}  // namespace

std::span<const QuantizeKernel> quantize_kernels() { return kKernels; }

const QuantizeKernel& best_quantize_kernel() {
  for (const QuantizeKernel& k : kKernels)
    if (cpu_features().has(k.isa)) return k;
  return kKernels.back();
}

}  // namespace planish::kernels
