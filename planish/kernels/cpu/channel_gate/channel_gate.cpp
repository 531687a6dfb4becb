#include "planish/kernels/cpu/channel_gate/channel_gate.h"

#include <array>

#include "planish/base/simd/portable.h"
#include "planish/kernels/cpu/channel_gate/generic.h"
#include "planish/kernels/cpu/channel_gate/variants.h"

namespace planish::kernels {

std::span<const ChannelGateKernel> channel_gate_kernels() {
  static const std::array kernels{
      kChannelGateAvx512,
      kChannelGateAvx2,
      ChannelGate<simd::PortableFloats>::row("channel_gate_baseline", Isa::baseline),
  };
  return kernels;
}

const ChannelGateKernel& best_channel_gate_kernel() {
  for (const ChannelGateKernel& k : channel_gate_kernels())
    if (cpu_features().has(k.isa)) return k;
  return channel_gate_kernels().back();
}

}  // namespace planish::kernels
