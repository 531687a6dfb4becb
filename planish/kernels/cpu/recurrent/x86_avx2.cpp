#include "planish/kernels/cpu/recurrent/generic.h"
#include "planish/kernels/cpu/recurrent/variants.h"

namespace planish::kernels {

constinit const RecurrentKernels kRecurrentAvx2 = recurrent_row<Recurrent<8, 6, 1, 4>>("recurrent_f32_avx2", Isa::avx2);

}  // namespace planish::kernels
