#include "planish/kernels/cpu/rows/generic.h"
#include "planish/kernels/cpu/rows/variants.h"

namespace planish::kernels {

constinit const RowKernels kRowsAvx2{"rows_f32_avx2",   Isa::avx2,        Rows<8>::layer_norm,
                                     Rows<8>::rms_norm, Rows<8>::softmax, Rows<8>::softmax_columns,
                                     Rows<8>::sum};

}  // namespace planish::kernels
