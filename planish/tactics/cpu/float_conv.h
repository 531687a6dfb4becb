#pragma once

// Shared by the tactics of this folder for our own float convolutions.

#include <string>

#include "planish/kernels/cpu/depthwise/depthwise.h"
#include "planish/kernels/cpu/float_epilogue/epilogue.h"
#include "planish/kernels/cpu/panel_conv/panel_conv.h"
#include "planish/tactics/tactic.h"

namespace planish {

/// Inputs of planish.FusedConv.
enum FloatConvInput : size_t { kConvX, kConvW, kConvB, kConvR };

/// The reason why our float convolutions do not take the node whatever their kernel, or nullopt: types, constants,
/// rank, bias, residual, activation, and that padding channels of a blocked output stay zero. `width`: floats per
/// vector.
WhyNot float_conv_refusal(const NodeView& view, int64_t width);
/// Activation and place of the residual; bias and residual are bound at run time. Error: no such activation.
Result<kernels::FloatEpilogue> float_epilogue(const NodeView& view);

/// Channels per pixel in memory: blocked layouts pad.
int64_t stored_channels(const TensorDesc& d);
/// The bias of a node as many floats as channels are stored: a copy where padding is needed.
class PaddedBias {
 public:
  explicit PaddedBias(const NodeView& view);
  /// `bias`: the node's input, nullptr without one.
  const float* bind(const float* bias);

 private:
  int64_t filters_ = 0;
  std::vector<float> padded_;  ///< empty when the bias can be read as it is
};

/// A view of planish.FusedConv that kCpuPanelConv or kCpuDepthwise supports, as its kernels read it.
Result<kernels::PanelConvProblem> panel_conv_problem(const NodeView& view, int64_t width);
Result<kernels::DepthwiseProblem> depthwise_problem(const NodeView& view, int64_t width);

}  // namespace planish
