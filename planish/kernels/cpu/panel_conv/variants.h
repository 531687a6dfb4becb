#pragma once

#include "planish/kernels/cpu/panel_conv/panel_conv.h"

namespace planish::kernels {

extern const PanelConvKernel kPanelConvAvx2;
extern const PanelConvKernel kPanelConvAvx512;

}  // namespace planish::kernels
