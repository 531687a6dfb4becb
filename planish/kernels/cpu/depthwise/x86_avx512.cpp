#include "planish/base/simd/x86_avx512.h"
#include "planish/kernels/cpu/depthwise/generic.h"
#include "planish/kernels/cpu/depthwise/variants.h"

namespace planish::kernels {

constinit const DepthwiseKernel kDepthwiseAvx512 =
    Depthwise<simd::Avx512Floats, 14>::row("depthwise_avx512", Isa::avx512);

}  // namespace planish::kernels
