#include "planish/base/simd/x86_avx2.h"
#include "planish/kernels/cpu/depthwise/generic.h"
#include "planish/kernels/cpu/depthwise/variants.h"

namespace planish::kernels {

constinit const DepthwiseKernel kDepthwiseAvx2 = Depthwise<simd::Avx2Floats, 8>::row("depthwise_avx2", Isa::avx2);

}  // namespace planish::kernels
