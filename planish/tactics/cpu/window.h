#pragma once

#include "planish/ops/conv_geometry.h"

namespace planish {

/// Sizes, strides, dilations and first pads of a window over one axis (a row of pixels) or two, into a kernel's shape.
template <typename S>
void set_window(const WindowGeometry& window, S& shape) {
  const size_t last = window.axes() - 1;
  shape.in_w = window.in[last];
  shape.out_w = window.out[last];
  shape.kernel_w = window.kernel[last];
  shape.stride_w = window.strides[last];
  shape.dilation_w = window.dilations[last];
  shape.pad_left = window.pads_begin[last];
  if (window.axes() != 2) return;
  shape.in_h = window.in[0];
  shape.out_h = window.out[0];
  shape.kernel_h = window.kernel[0];
  shape.stride_h = window.strides[0];
  shape.dilation_h = window.dilations[0];
  shape.pad_top = window.pads_begin[0];
}

}  // namespace planish
