#include "planish/base/simd/x86_avx512.h"
#include "planish/kernels/cpu/channel_gate/generic.h"
#include "planish/kernels/cpu/channel_gate/variants.h"

namespace planish::kernels {

constinit const ChannelGateKernel kChannelGateAvx512 =
    ChannelGate<simd::Avx512Floats>::row("channel_gate_avx512", Isa::avx512);

}  // namespace planish::kernels
