#include "planish/tactics/cpu/conv_chain_parts.h"

#include <algorithm>
#include <array>

#include "planish/ops/conv_geometry.h"
#include "planish/ops/fused_epilogue.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

Error refused(const NodeView& view, std::string what) {
  return Error{.code = Code::unsupported, .node = view.node->name, .what = std::move(what)};
}

/// nullopt, or why the operands of step `k` are not those of one convolution behind the other.
WhyNot operands_refusal(const NodeView& chain, const ChainStep& step, size_t k) {
  const auto inputs = static_cast<int32_t>(chain.inputs.size());
  for (size_t i = 0; i < step.operands.size(); ++i)
    if (step.operands[i] >= inputs && (i != 0 || static_cast<size_t>(step.operands[i] - inputs) + 1 != k))
      return "a step reads another result than that of the step before it";
  const int32_t first = k == 0 ? 0 : inputs + static_cast<int32_t>(k) - 1;
  if (step.operands.empty() || step.operands[0] != first)
    return "the first step has to read the chain's first input, and others the result before them";
  return std::nullopt;
}

bool is_depthwise(const ChainPart& part) {
  return part.node.attr_int("group", 1) != 1 && part.view.inputs[kConvW].shape[1] == 1;
}

bool one_pixel(const ChainPart& part) {
  return is_one_pixel_conv(part.node, part.view.inputs[kConvX].shape, part.view.inputs[kConvW].shape);
}

}  // namespace

Result<ConvChainParts> conv_chain_parts(const NodeView& chain, const Target& target, const Tactic& pixels) {
  const auto steps = PLANISH_TRY(chain_steps(*chain.node));
  if (steps.size() < 2 || steps.size() > 3) return refused(chain, "takes two or three convolutions");
  if (!chain.has_input(0)) return refused(chain, "needs an image");
  const Layout layout = chain.outputs[0].layout;
  if (layout_block(layout) <= 1 || chain.inputs[0].layout != layout) return refused(chain, "takes blocked images only");
  ConvChainParts parts;
  std::vector<TensorDesc> results;
  for (size_t k = 0; k < steps.size(); ++k) {
    if (!steps[k].node.is("FusedConv", "planish")) return refused(chain, "takes float convolutions only");
    if (WhyNot why = operands_refusal(chain, steps[k], k)) return refused(chain, std::move(*why));
    parts.all.push_back(PLANISH_TRY(chain_part(chain, steps[k], layout, results)));
    ChainPart& part = parts.all.back();
    part.view.node = &part.node;
    if (part.view.inputs.size() < 2 || !part.view.has_input(kConvX) || part.view.inputs[kConvX].rank() != 4 ||
        part.view.inputs[kConvW].rank() != 4)
      return refused(chain, "takes images with two spatial dimensions");
    const bool depthwise = is_depthwise(part);
    if (!depthwise && !one_pixel(part)) return refused(chain, "takes depthwise convolutions and those of one pixel");
    if (depthwise ? parts.depthwise != nullptr : parts.depthwise == nullptr && k != 0)
      return refused(chain, "takes one depthwise convolution, with at most one of one pixel on each side");
    (depthwise ? parts.depthwise : (parts.depthwise != nullptr ? parts.project : parts.expand)) = &part;
    if (k + 1 < steps.size() && part.view.has_input(kConvR)) return refused(chain, "adds a residual at the end only");
    part.tactic = depthwise ? &kCpuDepthwise : &pixels;
    if (WhyNot why = part.tactic->supports(part.view, target)) return refused(chain, std::move(*why));
  }
  if (parts.depthwise == nullptr) return refused(chain, "needs a depthwise convolution");
  return parts;
}

Result<ConvChainParts> conv_chain_parts(const NodeView& chain, const Target& target) {
  return conv_chain_parts(chain, target, kCpuPanelConv);
}

WhyNot conv_chain_refusal(const NodeView& chain, const Target& target) {
  const auto parts = conv_chain_parts(chain, target);
  if (!parts.ok()) return parts.error().what;
  return std::nullopt;
}

Result<std::vector<PackedConstant>> pack_conv_chain(const NodeView& chain, const Target& target) {
  return pack_conv_chain(PLANISH_TRY(conv_chain_parts(chain, target)), target);
}

Result<std::vector<PackedConstant>> pack_conv_chain(const ConvChainParts& parts, const Target& target) {
  std::vector<const ChainPart*> all;
  for (const ChainPart& part : parts.all) all.push_back(&part);
  return pack_parts(all, target);
}

Result<Tensor> unpack_conv_chain(const NodeView& chain, const PackedConstant& packed) {
  // The weights alone say which kernel packed them.
  return unpack_part(chain, packed, std::array{&kCpuPanelConv, &kCpuDepthwise, &kCpuSplitConv});
}

WhyNot division_refusal(const ChainPart& project) {
  const auto fused = read_epilogue(project.node);
  if (!fused.ok()) return fused.error().what;
  if (fused->residual_last && fused->activation != nullptr) return "adds a residual before the activation only";
  return std::nullopt;
}

ChainOperands::ChainOperands(const ChainPart& part, const kernels::FloatEpilogue& epilogue)
    : epilogue_(epilogue), weights_(part.operands[kConvW]), padded_(part.view) {
  if (part.view.has_input(kConvB)) bias_ = part.operands[kConvB];
}

kernels::FloatEpilogue ChainOperands::bind(const Bindings& b, const float*& weights) {
  kernels::FloatEpilogue e = epilogue_;
  weights = host_ptr<const float>(b.inputs[static_cast<size_t>(weights_)]);
  if (bias_ >= 0) e.bias = padded_.bind(host_ptr<const float>(b.inputs[static_cast<size_t>(bias_)]));
  return e;
}

Result<std::deque<ChainOperands>> chain_operands(const ConvChainParts& parts, std::span<const PackedConstant> packed,
                                                 const Target& target) {
  std::deque<ChainOperands> operands;
  for (const ChainPart& part : parts.all) {
    // The part's own tactic judges the packed form.
    const auto own = packed_weights_of(part, packed);
    if (auto kernel = part.tactic->prepare(part.view, own, target); !kernel.ok()) return std::move(kernel).take_error();
    operands.emplace_back(part, PLANISH_TRY(float_epilogue(part.view)));
  }
  return operands;
}

Expansion::Expansion(const kernels::PanelConvKernel& kernel, const kernels::PanelConvProblem& problem, int64_t pixels)
    : kernel_(&kernel), problem_(problem), panels_(problem.filters, kernel.width, kernel.vectors) {
  problem_.in_h = problem_.out_h = 1;
  problem_.y_vector = pixels * kernel.width;
}

int64_t Expansion::panel_floats() const {
  int64_t most = 0;
  for (int64_t i = 0; i < panels_.count; ++i) most = std::max(most, panels_.begin(i + 1) - panels_.begin(i));
  return most * problem_.y_vector;
}

Expansion::Ahead Expansion::weights_of(int64_t i, const float* weights) const {
  const int64_t vector_floats = problem_.channels() * kernel_->width;
  return {weights + panels_.begin(i) * vector_floats, (panels_.begin(i + 1) - panels_.begin(i)) * vector_floats};
}

void Expansion::run(int64_t i, int64_t pixels, const float* x, const float* weights, kernels::FloatEpilogue epilogue,
                    const Ahead& ahead, float* to) const {
  const int64_t vector = panels_.begin(i);
  kernels::PanelConvProblem p = problem_;
  p.in_w = p.out_w = pixels;
  p.filters -= vector * kernel_->width;
  if (epilogue.bias != nullptr) epilogue.bias += vector * kernel_->width;
  kernel_->run(p,
               {.pixel = 0,
                .pixels = pixels,
                .vector = 0,
                .vectors = panels_.begin(i + 1) - vector,
                .later = ahead.weights,
                .later_floats = ahead.floats},
               x, weights_of(i, weights).weights, epilogue, to);
}

void filter_vector(const kernels::DepthwiseKernel& kernel, kernels::DepthwiseProblem problem, int64_t vector,
                   int64_t row, int64_t rows, const float* x, const float* weights, kernels::FloatEpilogue epilogue,
                   float* y) {
  problem.channels -= vector * kernel.width;
  if (epilogue.bias != nullptr) epilogue.bias += vector * kernel.width;
  kernel.run(problem, {0, 0, row, rows}, x, weights + vector * problem.kernel_h * problem.kernel_w * kernel.width,
             epilogue, y);
}

}  // namespace planish
