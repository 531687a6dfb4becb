#include "planish/base/simd/x86_avx2.h"
#include "planish/kernels/cpu/channel_gate/generic.h"
#include "planish/kernels/cpu/channel_gate/variants.h"

namespace planish::kernels {

constinit const ChannelGateKernel kChannelGateAvx2 = ChannelGate<simd::Avx2Floats>::row("channel_gate_avx2", Isa::avx2);

}  // namespace planish::kernels
