#include "planish/kernels/cpu/rows/generic.h"
#include "planish/kernels/cpu/rows/variants.h"

namespace planish::kernels {

constinit const RowKernels kRowsAvx2 = row_kernels_of<8>("rows_f32_avx2", Isa::avx2);

}  // namespace planish::kernels
