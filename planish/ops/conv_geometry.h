#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "planish/base/status.h"
#include "planish/ir/graph.h"

namespace planish {

/// How a window slides over the spatial axes of a tensor: shared by convolutions and pooling, whatever their rank.
/// All vectors have one entry per spatial axis. Output position `p` looks along an axis at the input positions
/// `p * stride - pad_begin + r * dilation` for r = 0 .. kernel-1.
struct WindowGeometry {
  std::vector<int64_t> in;          ///< spatial input dimensions; -1 unknown
  std::vector<int64_t> out;         ///< spatial output dimensions; -1 where the input's is unknown
  std::vector<int64_t> kernel;      ///< taps per axis
  std::vector<int64_t> strides;     ///< in input elements
  std::vector<int64_t> dilations;   ///< distance of two taps, in input elements
  std::vector<int64_t> pads_begin;  ///< in input elements; 0 for SAME_* while the dimension is unknown
  std::vector<int64_t> pads_end;

  [[nodiscard]] size_t axes() const { return kernel.size(); }
  /// Input elements from the first to the last tap, both included.
  [[nodiscard]] int64_t extent(size_t axis) const { return (kernel[axis] - 1) * dilations[axis] + 1; }
  /// Number of taps of the whole window.
  [[nodiscard]] int64_t taps() const;
  /// First output position whose tap `r` does not fall before the input, and one past the last that does not fall
  /// behind it, both clamped to [0, out].
  struct Range {
    int64_t begin = 0;
    int64_t end = 0;
  };
  [[nodiscard]] Range valid_outputs(size_t axis, int64_t r) const;
};

/// Reads strides, dilations, pads, auto_pad and ceil_mode of `node` (the attributes of Conv and of the pooling
/// operators) for an input whose dimensions behind N and C are `spatial`. The kernel is attribute `kernel_shape`, or
/// `default_kernel` when the attribute is absent (Conv: from the weight). Dimensions may be -1.
/// Errors invalid_model: wrong attribute lengths or values; shape_mismatch: the window is larger than the padded input.
/// Source: the shape rules of https://onnx.ai/onnx/operators/onnx__Conv.html and onnx__MaxPool.html.
Result<WindowGeometry> resolve_window(const Node& node, std::span<const int64_t> spatial,
                                      std::span<const int64_t> default_kernel = {});

/// A resolved convolution. Dimension names as usual: input [N,C,in...], weight [K,C/G,kernel...], output [N,K,out...].
struct ConvShape {
  int64_t n = 0;
  int64_t c = 0;
  int64_t k = 0;
  int64_t groups = 1;
  WindowGeometry window;
  [[nodiscard]] Shape output() const;
};

/// Checks `x` [N,C,...] against `w` [K,C/G,...] and the attributes of `node` (Conv, FusedConv, ConvInteger,
/// QLinearConv, DeformConv). Dimensions may be -1; with unknown taps all of `window.in`, `out` and `kernel` are -1.
Result<ConvShape> resolve_conv(const Node& node, const Shape& x, const Shape& w);

/// True for a convolution that makes each pixel from the pixel in the same place: one group, a window of one, no
/// strides and no padding.
bool is_one_pixel_conv(const Node& node, const Shape& x, const Shape& w);

/// A resolved transposed convolution: input [N,C,in...], weight [C,K/G,kernel...], output [N,K,out...]. In `window`
/// the roles are those of the convolution it transposes: `window.in` is the OUTPUT of ConvTranspose and `window.out`
/// its input, so output position `o = p * stride - pad_begin + r * dilation` receives x[p] * w[r].
Result<ConvShape> resolve_conv_transpose(const Node& node, const Shape& x, const Shape& w);

}  // namespace planish
