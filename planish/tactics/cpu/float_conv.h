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

/// The activation of a convolution over rows of its sums.
struct RowActivation {
  kernels::PointwiseFn fn = nullptr;  ///< nullptr: none
  kernels::PointwiseOp op = kernels::PointwiseOp::identity;
  float alpha = 0;
  float beta = 0;

  [[nodiscard]] bool present() const { return fn != nullptr; }
  void apply(int64_t n, float* v) const {
    if (fn != nullptr) fn(op, n, v, nullptr, v, alpha, beta);
  }
};

/// The activation of a FusedConv. Error: it has no vector form.
Result<RowActivation> row_activation(const NodeView& view);

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

/// Vectors of filters per panel, at most, in weights that kCpuPanelConv packed. Error: they are for another machine.
Result<int64_t> panel_vectors(const NodeView& view, std::span<const PackedConstant> packed);

/// How a convolution by panels is shared out among threads, and cut so that caches hold what is read again.
class PanelConvWork {
 public:
  PanelConvWork() = default;
  /// `panel_vectors`: what the weights are packed in, at most; `pixels`: of the output, over all images.
  PanelConvWork(const kernels::PanelConvKernel& kernel, int64_t panel_vectors, const kernels::PanelConvProblem& problem,
                int64_t pixels, int threads);
  /// Parts of the work that may run at the same time.
  [[nodiscard]] int64_t slots() const { return slots_; }
  /// `weights`: packed as kCpuPanelConv does.
  void run(int64_t slot, const float* x, const float* weights, const kernels::FloatEpilogue& epilogue, float* y) const;

 private:
  /// Pixels [pixel, pixel + pixels) of one panel. `fresh`: this slot has not read its weights before, so that those
  /// behind it, before `last_panel`, are fetched out of memory meanwhile.
  void run_panel(int64_t panel, int64_t last_panel, int64_t pixel, int64_t pixels, bool fresh, const float* x,
                 const float* weights, const kernels::FloatEpilogue& epilogue, float* y) const;

  const kernels::PanelConvKernel* kernel_ = nullptr;
  kernels::PanelConvProblem p_;
  kernels::Panels panels_{1, 1, 1};
  int64_t panel_floats_ = 0;  ///< weights of one vector of filters
  int64_t pixels_ = 0;
  bool by_panels_ = false;
  int64_t slots_ = 1;
  int64_t at_once_ = 0;   ///< pixels
  int64_t tap_rows_ = 1;  ///< at a time
};

}  // namespace planish
