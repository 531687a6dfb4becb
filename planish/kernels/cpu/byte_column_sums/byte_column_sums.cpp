#include "planish/kernels/cpu/byte_column_sums/byte_column_sums.h"

#include <array>

#include "planish/kernels/cpu/byte_column_sums/generic.h"
#include "planish/kernels/cpu/byte_column_sums/variants.h"

namespace planish::kernels {
namespace {

constexpr std::array kKernels{
    ByteColumnSumsKernel{"byte_column_sums_avx512", Isa::avx512, byte_column_sums_avx512},
    ByteColumnSumsKernel{"byte_column_sums_avx2", Isa::avx2, byte_column_sums_avx2},
    ByteColumnSumsKernel{"byte_column_sums_baseline", Isa::baseline, byte_column_sums_generic},
};

}  // namespace

std::span<const ByteColumnSumsKernel> byte_column_sums_kernels() { return kKernels; }

const ByteColumnSumsKernel& best_byte_column_sums_kernel() {
  for (const ByteColumnSumsKernel& k : kKernels)
    if (cpu_features().has(k.isa)) return k;
  return kKernels.back();
}

}  // namespace planish::kernels
