#pragma once

// Chains of convolutions of one pixel around a depthwise one; shared by the tactics that take them.

#include <deque>

#include "planish/tactics/cpu/chain_parts.h"
#include "planish/tactics/cpu/float_conv.h"

namespace planish {

/// The convolutions of such a chain: `expand` and `project` may be missing, one of them only.
struct ConvChainParts {
  std::deque<ChainPart> all;
  const ChainPart* expand = nullptr;
  const ChainPart* depthwise = nullptr;
  const ChainPart* project = nullptr;
};

/// The parts of `chain`, each with the tactic that packs its weights: `pixels` for convolutions of one pixel. Error
/// unsupported: it is another chain, or not in a blocked layout.
Result<ConvChainParts> conv_chain_parts(const NodeView& chain, const Target& target, const Tactic& pixels);
/// Those of cpu.panel_conv.
Result<ConvChainParts> conv_chain_parts(const NodeView& chain, const Target& target);

/// nullopt, or why `chain` is none of these.
WhyNot conv_chain_refusal(const NodeView& chain, const Target& target);

/// Packs the weights of all parts as their tactics do, and the other way round.
Result<std::vector<PackedConstant>> pack_conv_chain(const ConvChainParts& parts, const Target& target);
Result<std::vector<PackedConstant>> pack_conv_chain(const NodeView& chain, const Target& target);
Result<Tensor> unpack_conv_chain(const NodeView& chain, const PackedConstant& packed);

/// nullopt, or why the result of `project` is not the sum of what divisions of its channels give, and then the
/// activation.
WhyNot division_refusal(const ChainPart& project);

/// What one convolution of a chain reads besides the result before it.
class ChainOperands {
 public:
  ChainOperands(const ChainPart& part, const kernels::FloatEpilogue& epilogue);
  /// The epilogue of a run, but for the residual, and the weights through `weights`.
  kernels::FloatEpilogue bind(const Bindings& b, const float*& weights);

 private:
  kernels::FloatEpilogue epilogue_;
  int32_t weights_ = 0;  ///< inputs of the chain, -1: none
  int32_t bias_ = -1;
  PaddedBias padded_;
};

/// The operands of all parts. Error: a part's packed weights are for another machine, or its activation is not known.
Result<std::deque<ChainOperands>> chain_operands(const ConvChainParts& parts, std::span<const PackedConstant> packed,
                                                 const Target& target);

/// The convolution of one pixel in front of a depthwise one, made a panel of its filters at a time: vectors of channels
/// one behind the other, each with all pixels.
class Expansion {
 public:
  Expansion() = default;
  /// `pixels`: room for so many in a vector, at most.
  Expansion(const kernels::PanelConvKernel& kernel, const kernels::PanelConvProblem& problem, int64_t pixels);

  [[nodiscard]] const kernels::Panels& panels() const { return panels_; }
  /// Floats of the widest panel, and of one vector.
  [[nodiscard]] int64_t panel_floats() const;
  [[nodiscard]] int64_t vector_floats() const { return problem_.y_vector; }
  [[nodiscard]] int64_t image_floats() const { return problem_.x_image; }

  /// What is read after a panel's weights, and is brought into the second-level cache meanwhile; nullptr: nothing.
  struct Ahead {
    const float* weights = nullptr;
    int64_t floats = 0;
  };
  /// The weights of panel `i`.
  [[nodiscard]] Ahead weights_of(int64_t i, const float* weights) const;
  /// Panel `i` of `pixels` pixels at `x`; weights and bias are those of all panels.
  void run(int64_t i, int64_t pixels, const float* x, const float* weights, kernels::FloatEpilogue epilogue,
           const Ahead& ahead, float* to) const;

 private:
  const kernels::PanelConvKernel* kernel_ = nullptr;
  kernels::PanelConvProblem problem_;
  kernels::Panels panels_{1, 1, 1};
};

/// Lines [row, row + rows) of vector `vector` of a depthwise convolution: `x` and `y` point at the vector's first line,
/// weights, bias and the problem are those of all vectors.
void filter_vector(const kernels::DepthwiseKernel& kernel, kernels::DepthwiseProblem problem, int64_t vector,
                   int64_t row, int64_t rows, const float* x, const float* weights, kernels::FloatEpilogue epilogue,
                   float* y);

}  // namespace planish
