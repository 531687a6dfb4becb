#include "planish/kernels/cpu/panel_conv/panel_conv.h"

#include <array>

#include "planish/base/simd/portable.h"
#include "planish/kernels/cpu/panel_conv/generic.h"
#include "planish/kernels/cpu/panel_conv/variants.h"

namespace planish::kernels {

std::span<const PanelConvKernel> panel_conv_kernels() {
  static const std::array kernels{
      kPanelConvAvx512,
      kPanelConvAvx2,
      PanelConv<simd::PortableFloats, 2, 2>::row("panel_conv_baseline", Isa::baseline),
  };
  return kernels;
}

const PanelConvKernel& best_panel_conv_kernel() {
  for (const PanelConvKernel& k : panel_conv_kernels())
    if (cpu_features().has(k.isa)) return k;
  return panel_conv_kernels().back();
}

}  // namespace planish::kernels
