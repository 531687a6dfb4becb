#pragma once

#include "planish/kernels/cpu/channel_gate/channel_gate.h"

namespace planish::kernels {

extern const ChannelGateKernel kChannelGateAvx2;
extern const ChannelGateKernel kChannelGateAvx512;

}  // namespace planish::kernels
