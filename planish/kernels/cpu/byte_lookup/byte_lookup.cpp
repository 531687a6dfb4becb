#include "planish/kernels/cpu/byte_lookup/byte_lookup.h"

#include <array>

#include "planish/kernels/cpu/byte_lookup/variants.h"

namespace planish::kernels {
namespace {

void byte_lookup_baseline(const uint8_t* table, int64_t n, const uint8_t* x, uint8_t* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = table[x[i]];
}

constexpr std::array kKernels{
    ByteLookupKernel{"byte_lookup_avx512", Isa::avx512, byte_lookup_avx512},
    ByteLookupKernel{"byte_lookup_baseline", Isa::baseline, byte_lookup_baseline},
};

}  // namespace

std::span<const ByteLookupKernel> byte_lookup_kernels() { return kKernels; }

const ByteLookupKernel& best_byte_lookup_kernel() {
  for (const ByteLookupKernel& k : kKernels)
    if (cpu_features().has(k.isa)) return k;
  return kKernels.back();
}

}  // namespace planish::kernels
