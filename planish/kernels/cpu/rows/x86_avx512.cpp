#include "planish/kernels/cpu/rows/generic.h"
#include "planish/kernels/cpu/rows/variants.h"

namespace planish::kernels {

constinit const RowKernels kRowsAvx512{"rows_f32_avx512",  Isa::avx512,       Rows<16>::layer_norm,
                                       Rows<16>::rms_norm, Rows<16>::softmax, Rows<16>::softmax_columns,
                                       Rows<16>::sum};

}  // namespace planish::kernels
