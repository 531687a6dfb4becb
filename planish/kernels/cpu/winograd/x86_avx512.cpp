#include "planish/base/simd/x86_avx512.h"
#include "planish/kernels/cpu/winograd/generic.h"
#include "planish/kernels/cpu/winograd/variants.h"

namespace planish::kernels {

constinit const WinogradKernel kWinograd2Avx512 =
    Winograd<simd::Avx512Floats, 2, 14, 2>::row("winograd_2x2_avx512", Isa::avx512);
constinit const WinogradKernel kWinograd4Avx512 =
    Winograd<simd::Avx512Floats, 4, 14, 2>::row("winograd_4x4_avx512", Isa::avx512);

}  // namespace planish::kernels
