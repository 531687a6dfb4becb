// planish.Chain of convolutions of one pixel around a depthwise one, by channels of the image in the middle: a thread
// makes some of them, filters them and multiplies them into the last convolution, whose result is the sum of what the
// threads have. So the large image never leaves the core that made it, and every weight is read by one thread only.
// Better than bands of rows (conv_chain.cpp) where weights are large and images small.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/pointwise/pointwise.h"
#include "planish/tactics/cpu/conv_chain_parts.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

using kernels::DepthwiseKernel;
using kernels::DepthwiseProblem;
using kernels::FloatEpilogue;
using kernels::PanelConvKernel;
using kernels::PanelConvPart;
using kernels::PanelConvProblem;
using kernels::Panels;

class ChannelsRunner final : public Kernel {
 public:
  ChannelsRunner(const ConvChainParts& parts, std::deque<ChainOperands> operands)
      : operands_(std::move(operands)),
        has_expand_(parts.expand != nullptr),
        has_project_(parts.project != nullptr),
        images_(parts.depthwise->view.outputs[0].shape[0]) {
    const ChainPart& last = parts.all.back();
    if (last.view.has_input(kConvR)) residual_ = last.operands[kConvR];
  }

  Status prepare(const ConvChainParts& parts, int threads) {
    const int64_t width = panel_.width;
    filter_ = PLANISH_TRY(depthwise_problem(parts.depthwise->view, depthwise_.width));
    vectors_ = (filter_.channels + width - 1) / width;
    x_image_ = stored_channels(parts.all.front().view.inputs[kConvX]) * filter_.in_h * filter_.in_w;
    y_image_ = stored_channels(parts.all.back().view.outputs[0]) * filter_.out_h * filter_.out_w;
    if (has_expand_) {
      expand_ =
          Expansion(panel_, PLANISH_TRY(panel_conv_problem(parts.expand->view, width)), filter_.in_h * filter_.in_w);
      expanded_ = expand_.panel_floats();
    }
    pieces_ = has_expand_ ? expand_.panels() : Panels(filter_.channels, width, 1);
    slots_ = std::min<int64_t>(threads, pieces_.count);
    if (has_project_) {
      project_ = PLANISH_TRY(panel_conv_problem(parts.project->view, width));
      activation_ = PLANISH_TRY(row_activation(parts.project->view));
      project_panels_ = Panels(project_.filters, width, panel_.vectors);
      int64_t most = 0;
      for (int64_t slot = 0; slot < slots_; ++slot) most = std::max(most, share(slot).vectors());
      filtered_ = most * filter_.y_vector;
    }
    return {};
  }

  [[nodiscard]] size_t workspace_bytes() const override {
    const int64_t sums = has_project_ ? (slots_ - 1) * y_image_ : 0;
    return static_cast<size_t>(slots_ * (expanded_ + filtered_) + sums) * sizeof(float);
  }
  [[nodiscard]] std::string detail() const override {
    return fmt::format("{}+{}, {} of {} vectors of channels at a time", depthwise_.name, panel_.name,
                       share(0).vectors(), vectors_);
  }

  Status run(const Bindings& b) override {
    Run run;
    std::array<FloatEpilogue, 3> epilogues;
    for (size_t k = 0; k < operands_.size(); ++k) epilogues[k] = operands_[k].bind(b, run.weights[k]);
    if (residual_ >= 0)
      epilogues[operands_.size() - 1].residual = host_ptr<const float>(b.inputs[static_cast<size_t>(residual_)]);
    run.x = host_ptr<const float>(b.inputs[0]);
    run.y = host_ptr<float>(b.outputs[0]);
    run.workspace = host_ptr<float>(b.workspace);
    for (int64_t image = 0; image < images_; ++image) {
      run.epilogues = epilogues;
      run_image(run);
      run.x += x_image_;
      run.y += y_image_;
      for (FloatEpilogue& e : epilogues)
        if (e.residual != nullptr) e.residual += y_image_;
    }
    return {};
  }

 private:
  struct Run {
    const float* x = nullptr;
    float* y = nullptr;
    float* workspace = nullptr;
    std::array<const float*, 3> weights{};
    std::array<FloatEpilogue, 3> epilogues;
  };

  /// Pieces [piece, last_piece), vectors [begin, end) of channels.
  struct Share {
    int64_t piece = 0, last_piece = 0;
    int64_t begin = 0, end = 0;
    [[nodiscard]] int64_t vectors() const { return end - begin; }
  };

  [[nodiscard]] Share share(int64_t slot) const {
    const int64_t first = pieces_.count * slot / slots_;
    const int64_t last = pieces_.count * (slot + 1) / slots_;
    return {first, last, pieces_.begin(first), pieces_.begin(last)};
  }

  void run_image(const Run& run) const {
    parallel_for(slots_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t slot = begin; slot < end; ++slot) run_slot(run, slot);
    });
    if (!has_project_ || slots_ == 1) return;
    const kernels::PointwiseFn add = kernels::best_pointwise_kernel().fn;
    constexpr int64_t kGrain = 1024;
    parallel_for(y_image_, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t slot = 1; slot < slots_; ++slot)
        add(kernels::PointwiseOp::add, end - begin, run.y + begin, sums(run, slot) + begin, run.y + begin, 0, 0);
      activation_.apply(end - begin, run.y + begin);
    });
  }

  void run_slot(const Run& run, int64_t slot) const {
    const Share s = share(slot);
    float* expanded = run.workspace + slot * (expanded_ + filtered_);
    float* filtered = expanded + expanded_;
    if (!has_expand_) {
      for (int64_t v = s.begin; v < s.end; ++v) filter(run, s, v, run.x + v * filter_.x_vector, filtered);
    } else {
      for (int64_t piece = s.piece; piece < s.last_piece; ++piece) {
        Expansion::Ahead ahead;
        if (piece + 1 < s.last_piece)
          ahead = expand_.weights_of(piece + 1, run.weights[0]);
        else if (has_project_)
          ahead = {project_weights(run, s, 0), project_weight_floats(s, 0)};
        expand_.run(piece, filter_.in_h * filter_.in_w, run.x, run.weights[0], run.epilogues[0], ahead, expanded);
        const int64_t first = pieces_.begin(piece);
        for (int64_t v = first; v < pieces_.begin(piece + 1); ++v)
          filter(run, s, v, expanded + (v - first) * expand_.vector_floats(), filtered);
      }
    }
    if (has_project_) project(run, s, slot, filtered);
  }

  /// One vector of channels.
  void filter(const Run& run, const Share& s, int64_t vector, const float* x, float* filtered) const {
    const size_t k = has_expand_ ? 1 : 0;
    FloatEpilogue e = run.epilogues[k];
    float* y = filtered + (vector - s.begin) * filter_.y_vector;
    if (!has_project_) {
      y = run.y + vector * filter_.y_vector;
      if (e.residual != nullptr) e.residual += vector * filter_.y_vector;
    }
    filter_vector(depthwise_, filter_, vector, 0, filter_.out_h, x, run.weights[k], e, y);
  }

  /// What a share of the channels adds to the result. The first slot's goes where the others' are added to it.
  void project(const Run& run, const Share& s, int64_t slot, const float* filtered) const {
    PanelConvProblem p = project_;
    p.chunks = s.vectors();
    p.last_chunk = std::min(p.chunk, filter_.channels - (s.end - 1) * panel_.width);
    FloatEpilogue e;
    if (slot == 0) {
      e = run.epilogues[operands_.size() - 1];
      if (slots_ > 1) e = FloatEpilogue{.bias = e.bias, .residual = e.residual};
    }
    float* y = slot == 0 ? run.y : sums(run, slot);
    for (int64_t panel = 0; panel < project_panels_.count; ++panel) {
      const int64_t vector = project_panels_.begin(panel);
      PanelConvPart part{
          .pixel = 0, .pixels = p.out_w, .vector = vector, .vectors = project_panels_.begin(panel + 1) - vector};
      if (panel + 1 < project_panels_.count) {
        part.later = project_weights(run, s, panel + 1);
        part.later_floats = project_weight_floats(s, panel + 1);
      }
      panel_.run(p, part, filtered, project_weights(run, s, panel), e, y);
    }
  }

  /// The rows of a panel of the last convolution's weights that a share multiplies, and how many floats they are.
  [[nodiscard]] const float* project_weights(const Run& run, const Share& s, int64_t panel) const {
    const int64_t vector = project_panels_.begin(panel);
    const int64_t wide = project_panels_.begin(panel + 1) - vector;
    return run.weights[operands_.size() - 1] +
           (vector * filter_.channels + s.begin * panel_.width * wide) * panel_.width;
  }
  [[nodiscard]] int64_t project_weight_floats(const Share& s, int64_t panel) const {
    const int64_t wide = project_panels_.begin(panel + 1) - project_panels_.begin(panel);
    return (std::min(s.end * panel_.width, filter_.channels) - s.begin * panel_.width) * wide * panel_.width;
  }

  /// Where a slot but the first leaves what it adds.
  [[nodiscard]] float* sums(const Run& run, int64_t slot) const {
    return run.workspace + slots_ * (expanded_ + filtered_) + (slot - 1) * y_image_;
  }

  const PanelConvKernel& panel_ = kernels::best_panel_conv_kernel();
  const DepthwiseKernel& depthwise_ = kernels::best_depthwise_kernel();
  std::deque<ChainOperands> operands_;
  bool has_expand_ = false;
  bool has_project_ = false;
  int32_t residual_ = -1;
  int64_t images_ = 0;
  int64_t vectors_ = 0;  ///< of channels in the middle
  int64_t x_image_ = 0;
  int64_t y_image_ = 0;
  DepthwiseProblem filter_;
  Expansion expand_;
  PanelConvProblem project_;
  RowActivation activation_;  ///< of the last convolution
  Panels pieces_{1, 1, 1};    ///< of the channels: the expansion's panels, or vectors
  Panels project_panels_{1, 1, 1};
  int64_t slots_ = 1;
  int64_t expanded_ = 0;  ///< floats of one panel of the expanded image
  int64_t filtered_ = 0;  ///< of what a slot hands on to the last convolution
};

WhyNot supports(const NodeView& view, const Target& target) {
  const auto parts = conv_chain_parts(view, target);
  if (!parts.ok()) return parts.error().what;
  return parts->project == nullptr ? std::nullopt : division_refusal(*parts->project);
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed,
                                        const Target& target) {
  const ConvChainParts parts = PLANISH_TRY(conv_chain_parts(view, target));
  auto runner = std::make_unique<ChannelsRunner>(parts, PLANISH_TRY(chain_operands(parts, packed, target)));
  PLANISH_TRY(runner->prepare(parts, target.threads));
  return std::unique_ptr<Kernel>(std::move(runner));
}

constexpr std::array<std::string_view, 1> kOps{"planish.Chain"};

}  // namespace

constinit const Tactic kCpuConvChainChannels{.id = "cpu.conv_chain_channels",
                                             .ops = kOps,
                                             .supports = supports,
                                             .pack = pack_conv_chain,
                                             .prepare = prepare,
                                             .unpack = unpack_conv_chain,
                                             .packs = Tactic::kSeveral,
                                             .version = 1};

}  // namespace planish
