// planish.Chain of convolutions of one pixel around a depthwise one (an inverted residual, or a part of it), by row
// bands. Within a band one panel of vectors of the expanded image is made and filtered after the other, so that it
// never leaves the second-level cache, nor does what is handed on to the last convolution.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>

#include "planish/base/isa.h"
#include "planish/base/parallel.h"
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

/// The weights of a convolution of one pixel, cut into panels.
struct Pointwise {
  PanelConvProblem p;
  Panels panels{1, 1, 1};
  int64_t panel_floats = 0;  ///< of one vector of filters
  int64_t at_once = 0;       ///< pixels that stay in the first-level cache

  Pointwise() = default;
  Pointwise(const PanelConvKernel& kernel, const PanelConvProblem& problem)
      : p(problem),
        panels(problem.filters, kernel.width, kernel.vectors),
        panel_floats(problem.channels() * kernel.width) {
    constexpr int64_t kCachedFloats = 4096;
    constexpr int64_t kGrain = 28;
    at_once = std::max<int64_t>(1, kCachedFloats / problem.channels() / kGrain) * kGrain;
  }

  /// Pixels [0, pixels) of `x` into `y`.
  void run(const PanelConvKernel& kernel, int64_t pixels, const float* x, const float* weights, const FloatEpilogue& e,
           float* y) const {
    PanelConvProblem q = p;
    q.in_w = q.out_w = pixels;
    q.in_h = q.out_h = 1;
    for (int64_t first = 0; first < pixels; first += at_once)
      for (int64_t i = 0; i < panels.count; ++i) {
        const int64_t vector = panels.begin(i);
        kernel.run(q, {first, std::min(at_once, pixels - first), vector, panels.begin(i + 1) - vector}, x,
                   weights + vector * panel_floats, e, y);
      }
  }
};

class ChainRunner final : public Kernel {
 public:
  ChainRunner(const ConvChainParts& parts, std::deque<ChainOperands> operands, const DepthwiseProblem& d, int threads)
      : panel_(kernels::best_panel_conv_kernel()),
        depthwise_(kernels::best_depthwise_kernel()),
        operands_(std::move(operands)),
        d_(d),
        has_expand_(parts.expand != nullptr),
        has_project_(parts.project != nullptr),
        images_(parts.depthwise->view.outputs[0].shape[0]),
        vectors_((d.channels + depthwise_.width - 1) / depthwise_.width) {
    const ChainPart& last = parts.all.back();
    if (last.view.has_input(kConvR)) residual_ = last.operands[kConvR];
    x_image_ = stored_channels(parts.all.front().view.inputs[kConvX]) * d.in_h * d.in_w;
    y_image_ = stored_channels(last.view.outputs[0]) * d.out_h * d.out_w;
    cut(threads);
  }

  Status set_pointwise(const ConvChainParts& parts) {
    const int64_t width = panel_.width;
    if (has_expand_) {
      cut_steps();
      expand_ = Expansion(panel_, PLANISH_TRY(panel_conv_problem(parts.expand->view, width)), kept_rows_ * d_.in_w);
      expanded_floats_ = expand_.panel_floats();
    }
    if (has_project_) {
      project_ = Pointwise(panel_, PLANISH_TRY(panel_conv_problem(parts.project->view, width)));
      project_.p.x_chunk = band_ * d_.out_w * width;
    }
    return {};
  }

  [[nodiscard]] size_t workspace_bytes() const override {
    return static_cast<size_t>(slots_ * slot_floats()) * sizeof(float);
  }
  [[nodiscard]] std::string detail() const override {
    return fmt::format("{}+{}, {} rows at a time", depthwise_.name, panel_.name, band_);
  }

  Status run(const Bindings& b) override {
    std::array<const float*, 3> weights{};
    std::array<FloatEpilogue, 3> epilogues;
    for (size_t k = 0; k < operands_.size(); ++k) epilogues[k] = operands_[k].bind(b, weights[k]);
    if (residual_ >= 0)
      epilogues[operands_.size() - 1].residual = host_ptr<const float>(b.inputs[static_cast<size_t>(residual_)]);
    const auto* x = host_ptr<const float>(b.inputs[0]);
    auto* y = host_ptr<float>(b.outputs[0]);
    auto* workspace = host_ptr<float>(b.workspace);
    parallel_for(slots_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t slot = begin; slot < end; ++slot) {
        const Run run{x, y, workspace + slot * slot_floats(), weights.data(), epilogues.data()};
        const int64_t last = images_ * d_.out_h * (slot + 1) / slots_;
        for (int64_t at = images_ * d_.out_h * slot / slots_; at < last;) {
          const int64_t row = at % d_.out_h;
          const int64_t rows = std::min(last - at, d_.out_h - row);
          run_rows(run, at / d_.out_h, row, rows);
          at += rows;
        }
      }
    });
    return {};
  }

 private:
  struct Run {
    const float* x;
    float* y;
    float* workspace;
    const float* const* weights;
    const FloatEpilogue* epilogues;
  };

  /// Rows [from, until) of the expanded image, or nothing.
  struct Rows {
    int64_t from = 0;
    int64_t until = 0;
  };

  [[nodiscard]] int64_t slot_floats() const { return expanded_floats_ + halo_floats_ + handed_floats_; }

  /// Bands as high as the second-level cache allows for what is handed on to the last convolution. Without one in front
  /// the bands are lower: the image that they read has to stay too.
  void cut(int threads) {
    const int64_t rows = images_ * d_.out_h;
    slots_ = std::min<int64_t>(threads, rows);
    const int64_t share = std::min(d_.out_h, (rows + slots_ - 1) / slots_);
    const int64_t width = depthwise_.width * vectors_;
    row_floats_ = d_.in_w * depthwise_.width;
    band_ = share;
    if (has_project_) {
      const int64_t cached = cpu_features().l2_bytes / (has_expand_ ? 2 : 8) / static_cast<int64_t>(sizeof(float));
      band_ = std::clamp<int64_t>(cached / (width * d_.out_w), 1, share);
      const int64_t bands = (share + band_ - 1) / band_;
      band_ = (share + bands - 1) / bands;
      handed_floats_ = width * band_ * d_.out_w;
    }
    if (has_expand_ && band_ < share) halo_floats_ = vectors_ * halo_rows() * row_floats_;
  }

  /// Within a band the expanded image is made and filtered one panel of vectors after the other, as many rows of it at
  /// a time as stay in the second-level cache beside the rest.
  void cut_steps() {
    const int64_t cached = cpu_features().l2_bytes / 5 / static_cast<int64_t>(sizeof(float));
    const int64_t vectors = std::min(panel_.vectors, vectors_);
    step_ = band_;
    while (step_ > 1 && vectors * kept(step_) * row_floats_ > cached) --step_;
    kept_rows_ = kept(step_);
  }

  /// Rows of the depthwise convolution's input that one output row looks at, that `rows` of them do, and that bands
  /// have in common.
  [[nodiscard]] int64_t reach() const { return (d_.kernel_h - 1) * d_.dilation_h + 1; }
  [[nodiscard]] int64_t kept(int64_t rows) const { return (rows - 1) * d_.stride_h + reach(); }
  [[nodiscard]] int64_t halo_rows() const { return std::max<int64_t>(0, reach() - d_.stride_h); }

  /// The input rows that output rows [row, row + count) look at.
  [[nodiscard]] Rows looked_at(int64_t row, int64_t count) const {
    const int64_t from = std::clamp<int64_t>(row * d_.stride_h - d_.pad_top, 0, d_.in_h);
    return {from, std::clamp<int64_t>((row + count - 1) * d_.stride_h - d_.pad_top + reach(), from, d_.in_h)};
  }

  void run_rows(const Run& run, int64_t image, int64_t first_row, int64_t rows) const {
    Rows halo;
    const int64_t last = first_row + rows;
    for (int64_t row = first_row; row < last; row += band_) {
      const int64_t count = std::min(band_, last - row);
      if (has_expand_) {
        const Rows next = row + count < last ? looked_at(row + count, 1) : Rows{d_.in_h, d_.in_h};
        Rows made;
        for (int64_t i = 0; i < expand_.panels().count; ++i)
          made = expand_and_filter(run, image, {row, row + count}, i, halo, next.from);
        halo = {std::clamp(next.from, made.from, made.until), made.until};
      } else {
        const Rows in = looked_at(row, count);
        const float* x = run.x + image * x_image_ + in.from * d_.x_row;
        for (int64_t v = 0; v < vectors_; ++v) filter(run, image, {row, row + count}, row, in, v, x + v * d_.x_vector);
      }
      if (has_project_) project_rows(run, image, row, count);
    }
  }

  /// A band of one panel of vectors. What `halo` says is there from the band before, and the rows from `next` on are
  /// left for the one behind. Returns the rows of the expanded image that were made last.
  Rows expand_and_filter(const Run& run, int64_t image, Rows band, int64_t panel, Rows halo, int64_t next) const {
    const int64_t vector = expand_.panels().begin(panel);
    const int64_t vectors = expand_.panels().begin(panel + 1) - vector;
    const int64_t plane = kept_rows_ * row_floats_;
    float* expanded = run.workspace;
    float* left = run.workspace + expanded_floats_ + vector * halo_rows() * row_floats_;
    const auto each_vector = [&](auto f) {
      for (int64_t v = 0; v < vectors; ++v) f(expanded + v * plane, left + v * halo_rows() * row_floats_);
    };
    Rows have = halo;
    each_vector([&](float* to, const float* from) { std::copy_n(from, (halo.until - halo.from) * row_floats_, to); });
    for (int64_t row = band.from; row < band.until; row += step_) {
      const int64_t until = std::min(row + step_, band.until);
      const Rows in = looked_at(row, until - row);
      const int64_t ready = std::max<int64_t>(0, have.until - in.from);
      if (ready > 0 && in.from > have.from)
        each_vector([&](float* to, const float*) {
          std::copy_n(to + (in.from - have.from) * row_floats_, ready * row_floats_, to);
        });
      have = in;
      if (in.from + ready < in.until)
        expand(run, image, {in.from + ready, in.until}, panel, expanded + ready * row_floats_);
      for (int64_t v = 0; v < vectors; ++v)
        filter(run, image, {row, until}, band.from, in, vector + v, expanded + v * plane);
    }
    const int64_t from = std::clamp(next, have.from, have.until);
    if (from < have.until)
      each_vector([&](const float* made, float* to) {
        std::copy_n(made + (from - have.from) * row_floats_, (have.until - from) * row_floats_, to);
      });
    return have;
  }

  /// Rows `rows` of one panel of the expanded image.
  void expand(const Run& run, int64_t image, Rows rows, int64_t panel, float* to) const {
    expand_.run(panel, (rows.until - rows.from) * d_.in_w,
                run.x + image * x_image_ + rows.from * d_.in_w * depthwise_.width, run.weights[0], run.epilogues[0], {},
                to);
  }

  /// Output rows `rows` of one vector from the input rows `in` at `x`; `band` is the first row of what is handed on.
  void filter(const Run& run, int64_t image, Rows rows, int64_t band, Rows in, int64_t vector, const float* x) const {
    const int64_t width = depthwise_.width;
    const size_t k = has_expand_ ? 1 : 0;
    DepthwiseProblem d = d_;
    FloatEpilogue e = run.epilogues[k];
    d.in_h = in.until - in.from;
    d.out_h = rows.until - rows.from;
    d.pad_top = in.from - (rows.from * d_.stride_h - d_.pad_top);
    float* y = run.workspace + expanded_floats_ + halo_floats_ + (vector * band_ + rows.from - band) * d.out_w * width;
    if (!has_project_) {
      const int64_t offset = image * y_image_ + vector * d.y_vector + rows.from * d.y_row;
      y = run.y + offset;
      if (e.residual != nullptr) e.residual += offset;
    }
    filter_vector(depthwise_, d, vector, 0, d.out_h, x, run.weights[k], e, y);
  }

  void project_rows(const Run& run, int64_t image, int64_t row, int64_t count) const {
    const size_t k = operands_.size() - 1;
    FloatEpilogue e = run.epilogues[k];
    const int64_t offset = image * y_image_ + row * d_.out_w * project_.p.y_pixel;
    if (e.residual != nullptr) e.residual += offset;
    project_.run(panel_, count * d_.out_w, run.workspace + expanded_floats_ + halo_floats_, run.weights[k], e,
                 run.y + offset);
  }

  const PanelConvKernel& panel_;
  const DepthwiseKernel& depthwise_;
  std::deque<ChainOperands> operands_;
  DepthwiseProblem d_;
  Expansion expand_;
  Pointwise project_;
  bool has_expand_ = false;
  bool has_project_ = false;
  int32_t residual_ = -1;
  int64_t images_ = 0;
  int64_t vectors_ = 0;  ///< of channels in the middle
  int64_t x_image_ = 0;
  int64_t y_image_ = 0;
  int64_t slots_ = 1;
  int64_t band_ = 1;        ///< output rows of all vectors at a time
  int64_t step_ = 1;        ///< of those, rows of one panel of vectors at a time
  int64_t kept_rows_ = 1;   ///< rows of the expanded image that a step looks at
  int64_t row_floats_ = 0;  ///< of one vector of it
  int64_t expanded_floats_ = 0;
  int64_t halo_floats_ = 0;  ///< its rows that the next band looks at too
  int64_t handed_floats_ = 0;
};

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed,
                                        const Target& target) {
  const ConvChainParts parts = PLANISH_TRY(conv_chain_parts(view, target));
  auto operands = PLANISH_TRY(chain_operands(parts, packed, target));
  const DepthwiseProblem d =
      PLANISH_TRY(depthwise_problem(parts.depthwise->view, kernels::best_depthwise_kernel().width));
  auto runner = std::make_unique<ChainRunner>(parts, std::move(operands), d, target.threads);
  PLANISH_TRY(runner->set_pointwise(parts));
  return std::unique_ptr<Kernel>(std::move(runner));
}

constexpr std::array<std::string_view, 1> kOps{"planish.Chain"};

}  // namespace

constinit const Tactic kCpuConvChain{.id = "cpu.conv_chain",
                                     .ops = kOps,
                                     .supports = conv_chain_refusal,
                                     .pack = pack_conv_chain,
                                     .prepare = prepare,
                                     .unpack = unpack_conv_chain,
                                     .packs = Tactic::kSeveral,
                                     .version = 7};

}  // namespace planish
