#include "planish/base/simd/x86_avx2.h"
#include "planish/kernels/cpu/winograd/generic.h"
#include "planish/kernels/cpu/winograd/variants.h"

namespace planish::kernels {

constinit const WinogradKernel kWinograd2Avx2 =
    Winograd<simd::Avx2Floats, 2, 6, 2>::row("winograd_2x2_avx2", Isa::avx2);
constinit const WinogradKernel kWinograd4Avx2 =
    Winograd<simd::Avx2Floats, 4, 6, 2>::row("winograd_4x4_avx2", Isa::avx2);

}  // namespace planish::kernels
