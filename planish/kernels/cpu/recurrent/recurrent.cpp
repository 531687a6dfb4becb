#include "planish/kernels/cpu/recurrent/recurrent.h"

#include <array>

#include "planish/kernels/cpu/recurrent/generic.h"
#include "planish/kernels/cpu/recurrent/variants.h"

namespace planish::kernels {

std::span<const RecurrentKernels> recurrent_kernels() {
  static const std::array kernels{
      kRecurrentAvx512,
      kRecurrentAvx2,
      recurrent_row<Recurrent<4, 2, 1, 2>>("recurrent_f32_baseline", Isa::baseline),
  };
  return kernels;
}

const RecurrentKernels& best_recurrent_kernels() {
  for (const RecurrentKernels& k : recurrent_kernels())
    if (cpu_features().has(k.isa)) return k;
  return recurrent_kernels().back();
}

}  // namespace planish::kernels
