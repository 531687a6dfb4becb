#include "planish/kernels/cpu/rows/generic.h"
#include "planish/kernels/cpu/rows/variants.h"

namespace planish::kernels {

constinit const RowKernels kRowsAvx512 = row_kernels_of<16>("rows_f32_avx512", Isa::avx512);

}  // namespace planish::kernels
