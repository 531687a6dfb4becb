#include "planish/base/simd/x86_avx512.h"
#include "planish/kernels/cpu/stem_conv/generic.h"
#include "planish/kernels/cpu/stem_conv/variants.h"

namespace planish::kernels {

constinit const StemConvKernel kStemConvAvx512 =
    StemConv<simd::Avx512Floats, 28, 14, 9>::row("stem_conv_avx512", Isa::avx512);

}  // namespace planish::kernels
