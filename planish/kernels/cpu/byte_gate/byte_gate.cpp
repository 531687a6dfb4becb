#include "planish/kernels/cpu/byte_gate/byte_gate.h"

#include <array>

#include "planish/base/simd/portable.h"
#include "planish/kernels/cpu/byte_gate/generic.h"
#include "planish/kernels/cpu/byte_gate/variants.h"

namespace planish::kernels {
namespace {

constexpr std::array kKernels{
    ByteGateKernel{"byte_gate_avx512", Isa::avx512, byte_gate_avx512},
    ByteGateKernel{"byte_gate_avx2", Isa::avx2, byte_gate_avx2},
    ByteGateKernel{"byte_gate_baseline", Isa::baseline, byte_gate_generic<simd::PortableFloats>},
};

}  // namespace

std::span<const ByteGateKernel> byte_gate_kernels() { return kKernels; }

const ByteGateKernel& best_byte_gate_kernel() {
  for (const ByteGateKernel& k : kKernels)
    if (cpu_features().has(k.isa)) return k;
  return kKernels.back();
}

}  // namespace planish::kernels
