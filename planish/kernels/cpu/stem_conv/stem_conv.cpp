#include "planish/kernels/cpu/stem_conv/stem_conv.h"

#include <array>

#include "planish/base/simd/portable.h"
#include "planish/kernels/cpu/stem_conv/generic.h"
#include "planish/kernels/cpu/stem_conv/variants.h"

namespace planish::kernels {

std::span<const StemConvKernel> stem_conv_kernels() {
  static const std::array kernels{
      kStemConvAvx512,
      kStemConvAvx2,
      StemConv<simd::PortableFloats, 2, 2, 2>::row("stem_conv_baseline", Isa::baseline),
  };
  return kernels;
}

const StemConvKernel& best_stem_conv_kernel() {
  for (const StemConvKernel& k : stem_conv_kernels())
    if (cpu_features().has(k.isa)) return k;
  return stem_conv_kernels().back();
}

}  // namespace planish::kernels
