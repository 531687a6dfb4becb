#include "planish/kernels/cpu/rows/rows.h"

#include <array>

#include "planish/kernels/cpu/rows/generic.h"
#include "planish/kernels/cpu/rows/variants.h"

namespace planish::kernels {

std::span<const RowKernels> row_kernels() {
  static const std::array kernels{
      kRowsAvx512,
      kRowsAvx2,
      row_kernels_of<4>("rows_f32_baseline", Isa::baseline),
  };
  return kernels;
}

const RowKernels& best_row_kernels() {
  for (const RowKernels& k : row_kernels())
    if (cpu_features().has(k.isa)) return k;
  return row_kernels().back();
}

}  // namespace planish::kernels
