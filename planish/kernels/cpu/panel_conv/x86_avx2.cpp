#include "planish/base/simd/x86_avx2.h"
#include "planish/kernels/cpu/panel_conv/generic.h"
#include "planish/kernels/cpu/panel_conv/variants.h"

namespace planish::kernels {

constinit const PanelConvKernel kPanelConvAvx2 =
    PanelConv<simd::Avx2Floats, 10, 6, 4>::row("panel_conv_avx2", Isa::avx2);

}  // namespace planish::kernels
