#include "planish/kernels/cpu/depthwise/depthwise.h"

#include <array>

#include "planish/base/simd/portable.h"
#include "planish/kernels/cpu/depthwise/generic.h"
#include "planish/kernels/cpu/depthwise/variants.h"

namespace planish::kernels {

std::span<const DepthwiseKernel> depthwise_kernels() {
  static const std::array kernels{
      kDepthwiseAvx512,
      kDepthwiseAvx2,
      Depthwise<simd::PortableFloats, 4>::row("depthwise_baseline", Isa::baseline),
  };
  return kernels;
}

const DepthwiseKernel& best_depthwise_kernel() {
  for (const DepthwiseKernel& k : depthwise_kernels())
    if (cpu_features().has(k.isa)) return k;
  return depthwise_kernels().back();
}

}  // namespace planish::kernels
