#include "planish/base/simd/x86_avx2.h"
#include "planish/kernels/cpu/stem_conv/generic.h"
#include "planish/kernels/cpu/stem_conv/variants.h"

namespace planish::kernels {

constinit const StemConvKernel kStemConvAvx2 = StemConv<simd::Avx2Floats, 12, 6, 4>::row("stem_conv_avx2", Isa::avx2);

}  // namespace planish::kernels
