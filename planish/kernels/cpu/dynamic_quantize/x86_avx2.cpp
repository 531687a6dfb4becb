#include "planish/kernels/cpu/dynamic_quantize/generic.h"
#include "planish/kernels/cpu/dynamic_quantize/variants.h"

namespace planish::kernels {

constinit const DynamicQuantizeKernels kDynamicQuantizeAvx2{"dynamic_quantize_avx2", Isa::avx2,
                                                            DynamicQuantize<8>::range, DynamicQuantize<8>::quantize};

}  // namespace planish::kernels
