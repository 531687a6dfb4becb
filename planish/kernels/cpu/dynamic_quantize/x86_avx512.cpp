#include "planish/kernels/cpu/dynamic_quantize/generic.h"
#include "planish/kernels/cpu/dynamic_quantize/variants.h"

namespace planish::kernels {

constinit const DynamicQuantizeKernels kDynamicQuantizeAvx512{
    "dynamic_quantize_avx512", Isa::avx512, DynamicQuantize<16>::range, DynamicQuantize<16>::quantize};

}  // namespace planish::kernels
