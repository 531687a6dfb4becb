#include "planish/kernels/cpu/dynamic_quantize/dynamic_quantize.h"

#include <array>

#include "planish/kernels/cpu/dynamic_quantize/generic.h"
#include "planish/kernels/cpu/dynamic_quantize/variants.h"

namespace planish::kernels {

std::span<const DynamicQuantizeKernels> dynamic_quantize_kernels() {
  static const std::array kernels{
      kDynamicQuantizeAvx512,
      kDynamicQuantizeAvx2,
      DynamicQuantizeKernels{"dynamic_quantize_baseline", Isa::baseline, DynamicQuantize<4>::range,
                             DynamicQuantize<4>::quantize},
  };
  return kernels;
}

const DynamicQuantizeKernels& best_dynamic_quantize_kernels() {
  for (const DynamicQuantizeKernels& k : dynamic_quantize_kernels())
    if (cpu_features().has(k.isa)) return k;
  return dynamic_quantize_kernels().back();
}

}  // namespace planish::kernels
