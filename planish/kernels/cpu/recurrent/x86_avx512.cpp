#include "planish/kernels/cpu/recurrent/generic.h"
#include "planish/kernels/cpu/recurrent/variants.h"

namespace planish::kernels {

constinit const RecurrentKernels kRecurrentAvx512 =
    recurrent_row<Recurrent<16, 6, 4, 8>>("recurrent_f32_avx512", Isa::avx512);

}  // namespace planish::kernels
