#include "planish/base/simd/x86_avx512.h"
#include "planish/kernels/cpu/panel_conv/generic.h"
#include "planish/kernels/cpu/panel_conv/variants.h"

namespace planish::kernels {
constinit const PanelConvKernel kPanelConvAvx512 =
    PanelConv<simd::Avx512Floats, 14, 14, 9, 6>::row("panel_conv_avx512", Isa::avx512, 3);

}  // namespace planish::kernels
