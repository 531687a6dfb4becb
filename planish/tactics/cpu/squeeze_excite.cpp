// planish.Chain of a squeeze-and-excite block: the mean of every channel through two convolutions of one pixel, the
// channels times the result, and the convolution of one pixel that reads them; with the depthwise convolution in front,
// and the convolution of one pixel in front of that, or without them. The means are taken while the depthwise
// convolution's lines are in the first-level cache, and what gates the channels is multiplied into whichever is
// smaller, the weights behind or the image. A thread filters, adds up, gates and multiplies the same part of the image,
// some of its lines or some of its channels: reading what lies in the other core's cache takes seven times as long as
// reading its own.
//
// Source of the block: Hu, Shen, Sun, "Squeeze-and-Excitation Networks" (2018).

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>

#include "planish/base/isa.h"
#include "planish/base/parallel.h"
#include "planish/kernels/cpu/channel_gate/channel_gate.h"
#include "planish/ops/chain.h"
#include "planish/ops/conv_geometry.h"
#include "planish/ops/fused_epilogue.h"
#include "planish/tactics/cpu/conv_chain_parts.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

using kernels::ChannelGateKernel;
using kernels::DepthwiseKernel;
using kernels::DepthwiseProblem;
using kernels::FloatEpilogue;
using kernels::PanelConvKernel;
using kernels::PanelConvPart;
using kernels::PanelConvProblem;
using kernels::Panels;

Error refused(const NodeView& view, std::string what) {
  return Error{.code = Code::unsupported, .node = view.node->name, .what = std::move(what)};
}

/// The convolutions of the block; `expand` may be missing, and `depthwise` too.
struct Block {
  std::deque<ChainPart> all;
  const ChainPart* expand = nullptr;
  const ChainPart* depthwise = nullptr;
  const ChainPart* squeeze = nullptr;
  const ChainPart* excite = nullptr;
  const ChainPart* project = nullptr;
  TensorDesc image;  ///< what is gated

  [[nodiscard]] std::vector<const ChainPart*> convolutions() const {
    std::vector<const ChainPart*> out{squeeze, excite, project};
    for (const ChainPart* part : {depthwise, expand})
      if (part != nullptr) out.push_back(part);
    return out;
  }
};

bool reads(const ChainPart& part, size_t input, int32_t operand) {
  return part.operands.size() > input && part.operands[input] == operand;
}

bool one_pixel(const ChainPart& part) {
  const Shape& w = part.view.inputs[kConvW].shape;
  return w.size() == 4 && is_one_pixel_conv(part.node, part.view.inputs[kConvX].shape, w);
}

/// True when all operands but the image come from outside: only the image is handed on.
bool has_own_operands(const NodeView& chain, const ChainPart& conv) {
  const auto inputs = static_cast<int32_t>(chain.inputs.size());
  return std::all_of(conv.operands.begin() + kConvW, conv.operands.end(), [=](int32_t o) { return o < inputs; });
}

/// nullopt, or why the steps are not a block: operators in their order, each reading what the block's does.
WhyNot order_refusal(const NodeView& chain, Block& block) {
  constexpr size_t kGateSteps = 5;
  const size_t in_front = block.all.size() - std::min(block.all.size(), kGateSteps);
  if (block.all.size() < kGateSteps || in_front > 2) return "takes five to seven steps";
  const int32_t mean = static_cast<int32_t>(chain.inputs.size() + in_front);
  const int32_t image = in_front > 0 ? mean - 1 : 0;
  auto part = block.all.begin();
  const auto conv = [](const ChainPart& p) { return p.node.is("FusedConv", "planish") && p.view.has_input(kConvW); };
  for (size_t k = 0; k < in_front; ++k, ++part) {
    if (!conv(*part) || !reads(*part, 0, k == 0 ? 0 : image - 1)) return "needs convolutions in front of the mean";
    (k + 1 < in_front ? block.expand : block.depthwise) = &*part;
  }
  const ChainPart& pool = *part++;
  block.squeeze = &*part++;
  block.excite = &*part++;
  const ChainPart& gate = *part++;
  block.project = &*part;
  if (!pool.node.is("GlobalAveragePool") || !reads(pool, 0, image)) return "needs the mean of the gated image";
  if (!conv(*block.squeeze) || !conv(*block.excite) || !conv(*block.project)) return "needs three convolutions";
  if (!reads(*block.squeeze, 0, mean) || !reads(*block.excite, 0, mean + 1) || !reads(*block.project, 0, mean + 3))
    return "the convolutions have to read one another";
  const bool gated = gate.node.is("Mul") && ((reads(gate, 0, image) && reads(gate, 1, mean + 2)) ||
                                             (reads(gate, 1, image) && reads(gate, 0, mean + 2)));
  return gated ? std::nullopt : WhyNot("needs the product of the image with what the mean became");
}

Result<Block> block_of(const NodeView& chain, const Target& target) {
  const auto steps = PLANISH_TRY(chain_steps(*chain.node));
  if (!chain.has_input(0)) return refused(chain, "needs an image");
  const Layout layout = chain.outputs[0].layout;
  if (layout == Layout::row_major || chain.inputs[0].layout != layout)
    return refused(chain, "takes channels-last and blocked images only, the same on both sides");
  Block block;
  std::vector<TensorDesc> results;
  for (const ChainStep& step : steps) {
    block.all.push_back(PLANISH_TRY(chain_part(chain, step, layout, results)));
    block.all.back().view.node = &block.all.back().node;
  }
  if (WhyNot why = order_refusal(chain, block)) return refused(chain, std::move(*why));
  std::vector<int32_t> weights;
  for (const ChainPart* conv : block.convolutions()) {
    weights.push_back(conv->operands[kConvW]);
    if (!has_own_operands(chain, *conv)) return refused(chain, "a step has another step's result for weights or bias");
    if (conv != block.depthwise && !one_pixel(*conv)) return refused(chain, "takes convolutions of one pixel");
    if (conv == block.expand && layout_block(layout) <= 1)
      return refused(chain, "takes two convolutions in front of the mean in blocked images only");
    if (conv != block.project && conv->view.has_input(kConvR)) return refused(chain, "adds a residual at the end only");
  }
  std::ranges::sort(weights);
  if (std::ranges::adjacent_find(weights) != weights.end())
    return refused(chain, "needs weights of its own for every convolution");
  block.image = block.depthwise != nullptr ? block.depthwise->view.outputs[0] : chain.inputs[0];
  if (block.image.rank() != 4 || chain.outputs[0].shape != block.project->view.outputs[0].shape ||
      block.excite->view.outputs[0].shape[1] != block.image.shape[1])
    return refused(chain, "takes images with two spatial dimensions, every channel with a gate");
  for (ChainPart& part : block.all) {
    if (!part.node.is("FusedConv", "planish")) continue;
    const bool filter = &part == block.depthwise;
    part.tactic = filter ? &kCpuDepthwise : &kCpuPanelConv;
    // One pixel: its channels need no padding.
    if (&part == block.squeeze || &part == block.excite)
      part.view.inputs[kConvX].layout = part.view.outputs[0].layout = Layout::channels_last;
    if (WhyNot why = part.tactic->supports(part.view, target)) return refused(chain, std::move(*why));
  }
  if (block.expand != nullptr)
    if (WhyNot why = division_refusal(*block.project)) return refused(chain, std::move(*why));
  return block;
}

int64_t padded(int64_t floats) { return (floats + 15) / 16 * 16; }

/// The part of the image that one thread filters, adds up, gates and multiplies, so that it stays in that core's cache:
/// vectors [v_begin, v_end) of channels, of lines [row, last_row).
struct Share {
  int64_t v_begin = 0, v_end = 0;
  int64_t row = 0, last_row = 0;
};

/// Where things begin in the workspace, in floats. What there is once per slot is `padded` apart, as is said there.
struct Scratch {
  int64_t expanded = 0;  ///< per slot: one panel of the first convolution's result
  int64_t image = 0;     ///< the depthwise convolution's result
  int64_t gated = 0;     ///< the image times its gates, or per slot: the weights times them
  int64_t parts = 0;     ///< per division of the channels but the first: its part of the sums over all channels
  int64_t sums = 0;      ///< per slot: of channels
  int64_t squeezed = 0;  ///< per slot: what its sums add to the squeezing convolution
  int64_t whole = 0;     ///< per slot: the squeezing convolution's result
  int64_t gates = 0;     ///< per slot
  int64_t end = 0;
};

class SqueezeExciteRunner final : public Kernel {
 public:
  SqueezeExciteRunner(const Block& block, int threads)
      : has_expand_(block.expand != nullptr),
        has_depthwise_(block.depthwise != nullptr),
        images_(block.image.shape[0]),
        channels_(block.image.shape[1]),
        stored_(stored_channels(block.image)),
        pixels_(block.image.shape[2] * block.image.shape[3]),
        squeezed_(block.squeeze->view.outputs[0].shape[1]),
        threads_(threads),
        expand_bias_(has_expand_ ? block.expand->view : block.project->view),
        padded_bias_(has_depthwise_ ? block.depthwise->view : block.project->view),
        project_bias_(block.project->view) {
    const auto bias = [](const ChainPart& p) { return p.view.has_input(kConvB) ? p.operands[kConvB] : -1; };
    const auto operands = [&](const ChainPart& p) { return Operands{p.operands[kConvW], bias(p)}; };
    if (has_expand_) expand_operands_ = operands(*block.expand);
    if (has_depthwise_) depthwise_operands_ = operands(*block.depthwise);
    squeeze_operands_ = operands(*block.squeeze);
    excite_operands_ = operands(*block.excite);
    project_operands_ = operands(*block.project);
    if (block.project->view.has_input(kConvR)) residual_ = block.project->operands[kConvR];
  }

  Status prepare(const Block& block) {
    const int64_t width = panel_.width;
    squeeze_ = PLANISH_TRY(panel_conv_problem(block.squeeze->view, width));
    excite_ = PLANISH_TRY(panel_conv_problem(block.excite->view, width));
    project_ = PLANISH_TRY(panel_conv_problem(block.project->view, width));
    squeeze_activation_ = PLANISH_TRY(row_activation(block.squeeze->view));
    excite_epilogue_ = PLANISH_TRY(float_epilogue(block.excite->view));
    project_epilogue_ = PLANISH_TRY(float_epilogue(block.project->view));
    project_activation_ = PLANISH_TRY(row_activation(block.project->view));
    if (has_expand_) {
      const TensorDesc& x = block.expand->view.outputs[0];
      expand_ = Expansion(panel_, PLANISH_TRY(panel_conv_problem(block.expand->view, width)), x.shape[2] * x.shape[3]);
      expand_epilogue_ = PLANISH_TRY(float_epilogue(block.expand->view));
    }
    if (has_depthwise_) {
      filter_ = PLANISH_TRY(depthwise_problem(block.depthwise->view, depthwise_.width));
      filter_epilogue_ = PLANISH_TRY(float_epilogue(block.depthwise->view));
    }
    lines_ = block.image.shape[2];
    line_ = block.image.shape[3];
    layout_block_ = layout_block(block.image.layout);
    const bool blocked = layout_block_ > 1;
    pixel_ = blocked ? layout_block_ : channels_;
    vector_ = blocked ? pixels_ * pixel_ : width;
    vectors_ = (channels_ + width - 1) / width;
    share_out();
    gates_image_ = pixels_ / row_shares_ < project_.filters;
    panels_ = Panels(project_.filters, width, panel_.vectors);
    lay_out();
    return {};
  }

  [[nodiscard]] size_t workspace_bytes() const override { return static_cast<size_t>(scratch_.end) * sizeof(float); }
  [[nodiscard]] std::string detail() const override {
    return fmt::format("{}{}{}+{}, gates on {}, channels by {}, lines by {}", has_depthwise_ ? depthwise_.name : "",
                       has_depthwise_ ? "+" : "", gate_.name, panel_.name, gates_image_ ? "the image" : "the weights",
                       channel_shares_, row_shares_);
  }

  Status run(const Bindings& b) override {
    const auto input = [&b](int32_t i) {
      return i < 0 ? nullptr : host_ptr<const float>(b.inputs[static_cast<size_t>(i)]);
    };
    Run run{.x = input(0), .y = host_ptr<float>(b.outputs[0]), .workspace = host_ptr<float>(b.workspace)};
    run.expand_weights = input(expand_operands_.weights);
    run.filter_weights = input(depthwise_operands_.weights);
    run.squeeze_weights = input(squeeze_operands_.weights);
    run.squeeze_bias = input(squeeze_operands_.bias);
    run.excite_weights = input(excite_operands_.weights);
    run.project_weights = input(project_operands_.weights);
    run.expand = expand_epilogue_;
    run.filter = filter_epilogue_;
    run.excite = excite_epilogue_;
    run.project = project_epilogue_;
    if (expand_operands_.bias >= 0) run.expand.bias = expand_bias_.bind(input(expand_operands_.bias));
    if (depthwise_operands_.bias >= 0) run.filter.bias = padded_bias_.bind(input(depthwise_operands_.bias));
    run.excite.bias = input(excite_operands_.bias);
    if (project_operands_.bias >= 0) run.project.bias = project_bias_.bind(input(project_operands_.bias));
    run.project.residual = input(residual_);
    const int64_t x_image = has_expand_ ? expand_.image_floats() : has_depthwise_ ? filter_.x_image : stored_ * pixels_;
    for (int64_t image = 0; image < images_; ++image) {
      run_image(run);
      run.x += x_image;
      run.y += project_.y_image;
      if (run.project.residual != nullptr) run.project.residual += project_.y_image;
    }
    return {};
  }

 private:
  /// Inputs of the chain, -1: none.
  struct Operands {
    int32_t weights = -1;
    int32_t bias = -1;
  };

  struct Run {
    const float* x = nullptr;
    float* y = nullptr;
    float* workspace = nullptr;
    const float* expand_weights = nullptr;
    const float* filter_weights = nullptr;
    const float* squeeze_weights = nullptr;
    const float* squeeze_bias = nullptr;
    const float* excite_weights = nullptr;
    const float* project_weights = nullptr;
    FloatEpilogue expand, filter, excite, project;
  };

  /// Divides channels or lines among the threads, or both, so that the largest share is small. Where it makes no
  /// difference, as the convolution in front does that made what is read: see PanelConvWork. With that convolution
  /// being part of the block, channels: whole panels of its filters.
  void share_out() {
    if (has_expand_) {
      channel_shares_ = std::min<int64_t>(threads_, expand_.panels().count);
      return;
    }
    constexpr double kNotInFront = 1.03;  // what reading the other core's half costs
    const int64_t pixels = has_depthwise_ ? filter_.in_h * filter_.in_w : pixels_;
    const bool by_channels = channels_ > pixels;
    double least = 2;
    for (int64_t c = 1; c <= threads_; ++c) {
      if (threads_ % c != 0 || (c > 1 && project_epilogue_.residual_last && project_activation_.present())) continue;
      const int64_t channel_shares = std::min(c, vectors_);
      const int64_t row_shares = std::min(threads_ / c, lines_);
      const auto largest = [](int64_t all, int64_t shares) {
        return static_cast<double>((all + shares - 1) / shares) / static_cast<double>(all);
      };
      double cost = largest(vectors_, channel_shares) * largest(lines_, row_shares);
      if (by_channels ? row_shares > 1 : channel_shares > 1) cost *= kNotInFront;
      if (cost >= least) continue;
      least = cost;
      channel_shares_ = channel_shares;
      row_shares_ = row_shares;
    }
  }

  [[nodiscard]] Share share(int64_t slot) const {
    const int64_t c = slot / row_shares_;
    const int64_t r = slot % row_shares_;
    if (has_expand_)
      return {expand_.panels().begin(first_panel(c)), expand_.panels().begin(first_panel(c + 1)), 0, lines_};
    return {vectors_ * c / channel_shares_, vectors_ * (c + 1) / channel_shares_, lines_ * r / row_shares_,
            lines_ * (r + 1) / row_shares_};
  }
  /// Of the first convolution's panels, the first one of division `c` of the channels.
  [[nodiscard]] int64_t first_panel(int64_t c) const { return expand_.panels().count * c / channel_shares_; }
  [[nodiscard]] int64_t slots() const { return channel_shares_ * row_shares_; }
  [[nodiscard]] int64_t channels_of(const Share& s) const {
    return std::min(s.v_end * panel_.width, channels_) - s.v_begin * panel_.width;
  }
  /// Weights of the last convolution for the channels of the largest share.
  [[nodiscard]] int64_t weight_floats() const {
    int64_t vectors = 0;
    for (int64_t slot = 0; slot < slots(); ++slot) vectors = std::max(vectors, share(slot).v_end - share(slot).v_begin);
    return panels_.vectors * panel_.width * vectors * panel_.width;
  }

  void lay_out() {
    int64_t end = 0;
    const auto take = [&end](int64_t floats) {
      const int64_t at = end;
      end += padded(floats);
      return at;
    };
    scratch_.expanded = take(has_expand_ ? slots() * expand_.panel_floats() : 0);
    scratch_.image = take(has_depthwise_ ? stored_ * pixels_ : 0);
    scratch_.gated = take(gates_image_ ? (has_depthwise_ ? 0 : stored_ * pixels_) : slots() * padded(weight_floats()));
    if (gates_image_ && has_depthwise_) scratch_.gated = scratch_.image;
    scratch_.parts = take((channel_shares_ - 1) * padded(project_.y_image));
    scratch_.sums = take(slots() * padded(vectors_ * panel_.width));
    scratch_.squeezed = take(slots() * padded(squeezed_ + panel_.width));
    scratch_.whole = take(slots() * padded(squeezed_));
    scratch_.gates = take(slots() * padded(vectors_ * panel_.width));
    scratch_.end = end;
  }

  void run_image(const Run& run) const {
    const auto each_slot = [this](auto f) {
      parallel_for(slots(), 1, [&](int64_t begin, int64_t end) {
        for (int64_t slot = begin; slot < end; ++slot) f(slot);
      });
    };
    each_slot([&](int64_t slot) { squeeze(run, share(slot), slot); });
    each_slot([&](int64_t slot) {
      excite(run, share(slot), slot);
      project(run, share(slot), slot);
    });
    if (channel_shares_ == 1) return;
    constexpr int64_t kGrain = 1024;
    const kernels::PointwiseFn add = kernels::best_pointwise_kernel().fn;
    parallel_for(project_.y_image, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t c = 1; c < channel_shares_; ++c)
        add(kernels::PointwiseOp::add, end - begin, run.y + begin, part(run, c) + begin, run.y + begin, 0, 0);
      project_activation_.apply(end - begin, run.y + begin);
    });
  }

  /// Adds the lines of a share up in one vector of channels, which are filtered from `x` in front of that.
  void add_up(const Run& run, const Share& s, int64_t vector, const float* x, float* sums) const {
    const int64_t width = panel_.width;
    const int64_t at_once = std::max<int64_t>(1, kLineCache / (line_ * width));
    for (int64_t row = s.row; row < s.last_row; row += at_once) {
      const int64_t rows = std::min(at_once, s.last_row - row);
      const float* from = run.x + vector * vector_;
      if (has_depthwise_) {
        float* image = run.workspace + scratch_.image + vector * vector_;
        filter_vector(depthwise_, filter_, vector, row, rows, x, run.filter_weights, run.filter, image);
        from = image;
      }
      gate_.add_columns(rows * line_, std::min(width, channels_ - vector * width), pixel_, from + row * line_ * pixel_,
                        sums + vector * width);
    }
  }

  /// Filters a share, adds it up, and gives the sums to the squeezing convolution. That is linear, so every slot can do
  /// its part.
  void squeeze(const Run& run, const Share& s, int64_t slot) const {
    const int64_t width = panel_.width;
    float* sums = run.workspace + scratch_.sums + slot * padded(vectors_ * width);
    const int64_t first = s.v_begin * width;
    const int64_t channels = channels_of(s);
    std::fill_n(sums + first, channels, 0.0F);
    if (has_expand_) {
      float* expanded = run.workspace + scratch_.expanded + slot * expand_.panel_floats();
      for (int64_t panel = first_panel(slot); panel < first_panel(slot + 1); ++panel) {
        Expansion::Ahead ahead;
        if (panel + 1 < first_panel(slot + 1)) ahead = expand_.weights_of(panel + 1, run.expand_weights);
        expand_.run(panel, filter_.in_h * filter_.in_w, run.x, run.expand_weights, run.expand, ahead, expanded);
        const int64_t vector = expand_.panels().begin(panel);
        for (int64_t v = vector; v < expand_.panels().begin(panel + 1); ++v)
          add_up(run, s, v, expanded + (v - vector) * expand_.vector_floats(), sums);
      }
    } else {
      for (int64_t v = s.v_begin; v < s.v_end; ++v)
        add_up(run, s, v, has_depthwise_ ? run.x + v * filter_.x_vector : nullptr, sums);
    }
    for (int64_t c = first; c < first + channels; ++c) sums[c] *= 1.0F / static_cast<float>(pixels_);
    PanelConvProblem p = squeeze_;
    p.chunk = p.last_chunk = channels;
    float* squeezed = run.workspace + scratch_.squeezed + slot * padded(squeezed_ + width);
    const Panels panels(squeezed_, width, panel_.vectors);
    for (int64_t i = 0; i < panels.count; ++i) {
      const int64_t vector = panels.begin(i);
      const int64_t wide = panels.begin(i + 1) - vector;
      panel_.run(p, {0, 1, vector, wide}, sums + first,
                 run.squeeze_weights + (vector * channels_ + first * wide) * width, FloatEpilogue{}, squeezed);
    }
  }

  /// What the squeezing convolution gives, from the parts of all slots.
  void sum_up(const Run& run, float* to) const {
    const float* from = run.workspace + scratch_.squeezed;
    const int64_t stride = padded(squeezed_ + panel_.width);
    for (int64_t k = 0; k < squeezed_; ++k) to[k] = run.squeeze_bias != nullptr ? run.squeeze_bias[k] : 0.0F;
    for (int64_t slot = 0; slot < slots(); ++slot)
      for (int64_t k = 0; k < squeezed_; ++k) to[k] += from[slot * stride + k];
    squeeze_activation_.apply(squeezed_, to);
  }

  /// The gates of a share's channels. Slots that divide lines do the same work: it is less than waiting for it.
  void excite(const Run& run, const Share& s, int64_t slot) const {
    const int64_t width = panel_.width;
    float* squeezed = run.workspace + scratch_.whole + slot * padded(squeezed_);
    sum_up(run, squeezed);
    const Panels panels(channels_, width, panel_.vectors);
    for (int64_t i = 0; i < panels.count; ++i) {
      const int64_t first = panels.begin(i);
      const int64_t last = panels.begin(i + 1);
      if (first < s.v_end && last > s.v_begin)
        panel_.run(excite_, {0, 1, first, last - first}, squeezed, run.excite_weights + first * width * squeezed_,
                   run.excite, gates(run, slot));
    }
  }

  [[nodiscard]] float* gates(const Run& run, int64_t slot) const {
    return run.workspace + scratch_.gates + slot * padded(vectors_ * panel_.width);
  }
  /// Where division `c` > 0 of the channels leaves its part of the result.
  [[nodiscard]] float* part(const Run& run, int64_t c) const {
    return run.workspace + scratch_.parts + (c - 1) * padded(project_.y_image);
  }

  /// A share's pixels and channels times the weights behind, either of them gated.
  void project(const Run& run, const Share& s, int64_t slot) const {
    const int64_t width = panel_.width;
    const int64_t first_channel = s.v_begin * width;
    const int64_t channels = channels_of(s);
    const int64_t first = s.row * line_;
    const int64_t last = s.last_row * line_;
    const float* image = has_depthwise_ ? run.workspace + scratch_.image : run.x;
    if (gates_image_) {
      float* gated = run.workspace + scratch_.gated;
      for (int64_t v = s.v_begin; v < s.v_end; ++v) {
        const int64_t at = v * vector_ + first * pixel_;
        gate_.scale_columns(last - first, std::min(width, channels_ - v * width), pixel_, image + at,
                            gates(run, slot) + v * width, gated + at);
      }
      image = gated;
    }
    PanelConvProblem p = project_;
    if (layout_block_ > 1) {
      p.chunks = s.v_end - s.v_begin;
      p.last_chunk = channels - (p.chunks - 1) * width;
    } else {
      p.chunk = p.last_chunk = channels;
    }
    const int64_t c = slot / row_shares_;
    float* y = c == 0 ? run.y : part(run, c);
    FloatEpilogue epilogue;
    if (c == 0)
      epilogue = channel_shares_ == 1 ? run.project
                                      : FloatEpilogue{.bias = run.project.bias, .residual = run.project.residual};
    const auto raw = [&](int64_t panel) {
      const int64_t wide = panels_.begin(panel + 1) - panels_.begin(panel);
      return run.project_weights + (panels_.begin(panel) * channels_ + first_channel * wide) * width;
    };
    float* own = run.workspace + scratch_.gated + slot * padded(weight_floats());
    constexpr int64_t kGrain = 24;  // pixels: about two steps of the kernel
    const int64_t cached = cpu_features().l2_bytes / 2 / (channels * static_cast<int64_t>(sizeof(float)));
    const int64_t at_once = std::max<int64_t>(kGrain, cached / kGrain * kGrain);
    for (int64_t pixel = first; pixel < last; pixel += at_once)
      for (int64_t panel = 0; panel < panels_.count; ++panel) {
        const int64_t vector = panels_.begin(panel);
        const int64_t vectors = panels_.begin(panel + 1) - vector;
        PanelConvPart work{
            .pixel = pixel, .pixels = std::min(at_once, last - pixel), .vector = vector, .vectors = vectors};
        if (pixel == first && panel + 1 < panels_.count) {
          work.later = raw(panel + 1);
          work.later_floats = (panels_.begin(panel + 2) - panels_.begin(panel + 1)) * width * channels;
        }
        const float* weights = raw(panel);
        if (!gates_image_) {
          float* gated = own + vector * width * channels;
          if (pixel == first)
            gate_.scale_rows(channels, vectors * width, weights, gates(run, slot) + first_channel, gated);
          weights = gated;
        }
        panel_.run(p, work, image + s.v_begin * vector_, weights, epilogue, y);
      }
  }

  static constexpr int64_t kLineCache = 2048;  ///< floats that stay in the first-level cache until they are added up

  const PanelConvKernel& panel_ = kernels::best_panel_conv_kernel();
  const DepthwiseKernel& depthwise_ = kernels::best_depthwise_kernel();
  const ChannelGateKernel& gate_ = kernels::best_channel_gate_kernel();
  bool has_expand_ = false;
  bool has_depthwise_ = false;
  int64_t images_ = 0;
  int64_t channels_ = 0;
  int64_t stored_ = 0;
  int64_t pixels_ = 0;
  int64_t squeezed_ = 0;  ///< channels between the two convolutions of the mean
  int threads_ = 1;
  PaddedBias expand_bias_;
  PaddedBias padded_bias_;
  PaddedBias project_bias_;
  Operands expand_operands_, depthwise_operands_, squeeze_operands_, excite_operands_, project_operands_;
  int32_t residual_ = -1;
  Expansion expand_;
  PanelConvProblem squeeze_, excite_, project_;
  DepthwiseProblem filter_;
  RowActivation squeeze_activation_, project_activation_;
  FloatEpilogue expand_epilogue_, filter_epilogue_, excite_epilogue_, project_epilogue_;
  Panels panels_{1, 1, 1};          ///< of the last convolution's filters
  int64_t lines_ = 0, line_ = 0;    ///< of the image, and pixels in each
  int64_t pixel_ = 0, vector_ = 0;  ///< strides of the image
  int64_t vectors_ = 0;
  int64_t layout_block_ = 1;
  int64_t channel_shares_ = 1;
  int64_t row_shares_ = 1;
  bool gates_image_ = false;  ///< rather than the weights behind
  Scratch scratch_;
};

WhyNot supports(const NodeView& view, const Target& target) {
  const auto block = block_of(view, target);
  if (!block.ok()) return block.error().what;
  return std::nullopt;
}

Result<std::vector<PackedConstant>> pack(const NodeView& view, const Target& target) {
  const Block block = PLANISH_TRY(block_of(view, target));
  return pack_parts(block.convolutions(), target);
}

Result<Tensor> unpack(const NodeView& view, const PackedConstant& packed) {
  return unpack_part(view, packed, std::array{&kCpuPanelConv, &kCpuDepthwise});
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed,
                                        const Target& target) {
  const Block block = PLANISH_TRY(block_of(view, target));
  // The parts' own tactics judge the packed forms.
  for (const ChainPart* part : block.convolutions())
    if (auto kernel = part->tactic->prepare(part->view, packed_weights_of(*part, packed), target); !kernel.ok())
      return std::move(kernel).take_error();
  auto runner = std::make_unique<SqueezeExciteRunner>(block, target.threads);
  PLANISH_TRY(runner->prepare(block));
  return std::unique_ptr<Kernel>(std::move(runner));
}

constexpr std::array<std::string_view, 1> kOps{"planish.Chain"};

}  // namespace

constinit const Tactic kCpuSqueezeExcite{.id = "cpu.squeeze_excite",
                                         .ops = kOps,
                                         .supports = supports,
                                         .pack = pack,
                                         .prepare = prepare,
                                         .unpack = unpack,
                                         .packs = Tactic::kSeveral,
                                         .version = 6};

}  // namespace planish
