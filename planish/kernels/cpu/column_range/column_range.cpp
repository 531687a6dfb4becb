#include "planish/kernels/cpu/column_range/column_range.h"

#include <array>

#include "planish/base/simd/portable.h"
#include "planish/kernels/cpu/column_range/generic.h"
#include "planish/kernels/cpu/column_range/variants.h"

namespace planish::kernels {
namespace {

constexpr std::array kKernels{
    ColumnRangeKernel{"column_range_avx512", Isa::avx512, column_range_avx512, column_range_parts_avx512},
    ColumnRangeKernel{"column_range_avx2", Isa::avx2, column_range_avx2, column_range_parts_avx2},
    ColumnRangeKernel{"column_range_baseline", Isa::baseline, column_range_generic<simd::PortableFloats>,
                      column_range_parts_generic<simd::PortableFloats>},
};

}  // namespace

std::span<const ColumnRangeKernel> column_range_kernels() { return kKernels; }

const ColumnRangeKernel& best_column_range_kernel() {
  for (const ColumnRangeKernel& k : kKernels)
    if (cpu_features().has(k.isa)) return k;
  return kKernels.back();
}

}  // namespace planish::kernels
