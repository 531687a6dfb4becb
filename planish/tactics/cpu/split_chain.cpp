// planish.Chain of convolutions of one pixel around a depthwise one on AMX (split_conv.h), by channels of the image in
// the middle as in conv_chain_channels.cpp: every weight is read, and split, by one thread only.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>

#include "planish/base/parallel.h"
#include "planish/kernels/cpu/pointwise/pointwise.h"
#include "planish/kernels/cpu/split_conv/split_conv.h"
#include "planish/tactics/cpu/conv_chain_parts.h"
#include "planish/tactics/cpu/own_tactics.h"
#include "planish/tactics/cpu/packed_product.h"

namespace planish {
namespace {

using kernels::DepthwiseKernel;
using kernels::DepthwiseProblem;
using kernels::FloatEpilogue;
using kernels::kSplitPanel;
using kernels::kSplitStep;
using kernels::kSplitTile;
using kernels::kSplitVector;
using kernels::PanelConvProblem;
using kernels::SplitConvKernel;
using kernels::SplitConvPart;
using kernels::SplitImage;
using kernels::SplitWeights;

/// Steps whose weights are split at a time.
constexpr int64_t kMostDepth = 16;
constexpr int64_t kPanelVectors = kSplitPanel / kSplitVector;

class SplitChainRunner final : public Kernel {
 public:
  SplitChainRunner(const ConvChainParts& chain, std::deque<ChainOperands> operands)
      : operands_(std::move(operands)),
        has_expand_(chain.expand != nullptr),
        has_project_(chain.project != nullptr),
        images_(chain.depthwise->view.outputs[0].shape[0]) {
    const ChainPart& last = chain.all.back();
    if (last.view.has_input(kConvR)) residual_ = last.operands[kConvR];
  }

  Status prepare(const ConvChainParts& chain, int threads) {
    filter_ = PLANISH_TRY(depthwise_problem(chain.depthwise->view, depthwise_.width));
    vectors_ = parts(filter_.channels, kSplitVector);
    in_pixels_ = filter_.in_h * filter_.in_w;
    out_pixels_ = filter_.out_h * filter_.out_w;
    x_image_ = stored_channels(chain.all.front().view.inputs[kConvX]) * in_pixels_;
    y_image_ = stored_channels(chain.all.back().view.outputs[0]) * out_pixels_;
    const int64_t panels = parts(vectors_, kPanelVectors);
    const int64_t slots = std::min<int64_t>(threads, panels);
    if (has_expand_) {
      expand_ = PLANISH_TRY(panel_conv_problem(chain.expand->view, kSplitVector));
      x_numbers_ = kernels::split_size(in_pixels_ + kSplitTile, expand_.channels());
      expanded_ = kPanelVectors * in_pixels_ * kSplitVector;
    }
    if (has_project_) {
      project_ = PLANISH_TRY(panel_conv_problem(chain.project->view, kSplitVector));
      activation_ = PLANISH_TRY(row_activation(chain.project->view));
    }
    for (int64_t slot = 0; slot < slots; ++slot) {
      Share s;
      s.panel = panels * slot / slots;
      s.last_panel = panels * (slot + 1) / slots;
      s.channels = std::min(s.last_panel * kSplitPanel, filter_.channels) - s.panel * kSplitPanel;
      if (has_expand_)
        for (int64_t panel = s.panel; panel < s.last_panel; ++panel) add_jobs(s, false, panel, expand_.channels());
      if (has_project_)
        for (int64_t panel = 0; panel < parts(project_.filters, kSplitPanel); ++panel)
          add_jobs(s, true, panel, s.channels);
      handed_ = std::max(handed_, parts(s.channels, kSplitVector) * out_pixels_ * kSplitVector);
      handed_numbers_ = std::max(handed_numbers_, kernels::split_size(out_pixels_ + kSplitTile, s.channels));
      shares_.push_back(std::move(s));
    }
    if (!has_project_) handed_ = handed_numbers_ = 0;
    for (const Share& s : shares_)
      for (const Job& job : s.jobs)
        if (job.last_depth - job.depth < job.depths)
          unfinished_ = kernels::split_sums(std::max(in_pixels_, out_pixels_));
    return {};
  }

  [[nodiscard]] size_t workspace_bytes() const override {
    return static_cast<size_t>(slots() * slot_floats() + (slots() - 1) * sums_floats()) * sizeof(float) + kLine;
  }
  [[nodiscard]] std::string detail() const override {
    return fmt::format("{}+{}, {} of {} channels at a time", depthwise_.name, kernel_.name, shares_[0].channels,
                       filter_.channels);
  }

  Status run(const Bindings& b) override {
    Run run;
    for (size_t k = 0; k < operands_.size(); ++k) run.epilogues[k] = operands_[k].bind(b, run.weights[k]);
    if (residual_ >= 0)
      run.epilogues[operands_.size() - 1].residual = host_ptr<const float>(b.inputs[static_cast<size_t>(residual_)]);
    run.x = host_ptr<const float>(b.inputs[0]);
    run.y = host_ptr<float>(b.outputs[0]);
    const auto workspace = reinterpret_cast<uintptr_t>(host_ptr<float>(b.workspace));
    run.workspace = reinterpret_cast<float*>((workspace + kLine - 1) / kLine * kLine);
    for (int64_t image = 0; image < images_; ++image) {
      run_image(run);
      run.x += x_image_;
      run.y += y_image_;
      for (FloatEpilogue& e : run.epilogues)
        if (e.residual != nullptr) e.residual += y_image_;
    }
    return {};
  }

 private:
  static constexpr size_t kLine = 64;

  struct Run {
    const float* x = nullptr;
    float* y = nullptr;
    float* workspace = nullptr;
    std::array<const float*, 3> weights{};
    std::array<FloatEpilogue, 3> epilogues;
  };
  /// Steps [depth, last_depth) of one panel of filters of the first or the last convolution.
  struct Job {
    bool project = false;
    int64_t panel = 0;
    int64_t depth = 0, last_depth = 0, depths = 0;
  };
  /// What a thread does: panels of the channels in the middle.
  struct Share {
    int64_t panel = 0, last_panel = 0;
    int64_t channels = 0;
    std::vector<Job> jobs;
  };
  /// The memory of a thread.
  struct Slot {
    SplitImage x, handed_parts;
    uint16_t* now = nullptr;   ///< weights that are multiplied
    uint16_t* next = nullptr;  ///< weights that are split meanwhile
    float* unfinished = nullptr;
    float* expanded = nullptr;
    float* handed = nullptr;
  };

  static void add_jobs(Share& s, bool project, int64_t panel, int64_t channels) {
    const int64_t depths = parts(channels, kSplitStep);
    const int64_t at_once = parts(depths, parts(depths, kMostDepth));
    for (int64_t depth = 0; depth < depths; depth += at_once)
      s.jobs.push_back({project, panel, depth, std::min(depth + at_once, depths), depths});
  }

  [[nodiscard]] int64_t slots() const { return static_cast<int64_t>(shares_.size()); }
  static constexpr int64_t kWeightNumbers = kMostDepth * kSplitStep * kSplitPanel * kernels::kSplitParts;
  [[nodiscard]] int64_t slot_floats() const {
    return (x_numbers_ + handed_numbers_ + 2 * kWeightNumbers) / 2 + unfinished_ + expanded_ + handed_;
  }
  [[nodiscard]] int64_t sums_floats() const { return has_project_ ? y_image_ : 0; }
  [[nodiscard]] Slot slot_at(const Run& run, int64_t slot) const {
    auto* at = reinterpret_cast<uint16_t*>(run.workspace + slot * slot_floats());
    Slot s;
    s.x = {at, in_pixels_ + kSplitTile};
    s.handed_parts = {at += x_numbers_, out_pixels_ + kSplitTile};
    s.now = at += handed_numbers_;
    s.next = at += kWeightNumbers;
    s.unfinished = reinterpret_cast<float*>(at + kWeightNumbers);
    s.expanded = s.unfinished + unfinished_;
    s.handed = s.expanded + expanded_;
    return s;
  }
  /// Where a slot but the first leaves what it adds.
  [[nodiscard]] float* sums(const Run& run, int64_t slot) const {
    return run.workspace + slots() * slot_floats() + (slot - 1) * y_image_;
  }

  void run_image(const Run& run) const {
    parallel_for(slots(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t slot = begin; slot < end; ++slot) run_slot(run, slot);
    });
    if (!has_project_ || slots() == 1) return;
    const kernels::PointwiseFn add = kernels::best_pointwise_kernel().fn;
    constexpr int64_t kGrain = 1024;
    parallel_for(y_image_, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t slot = 1; slot < slots(); ++slot)
        add(kernels::PointwiseOp::add, end - begin, run.y + begin, sums(run, slot) + begin, run.y + begin, 0, 0);
      activation_.apply(end - begin, run.y + begin);
    });
  }

  void run_slot(const Run& run, int64_t slot) const {
    const Share& share = shares_[static_cast<size_t>(slot)];
    Slot s = slot_at(run, slot);
    const int64_t first_vector = share.panel * kPanelVectors;
    if (!share.jobs.empty()) kernel_.split_weights(weights_of(run, share, 0, s.now));
    if (has_expand_)
      kernel_.split({run.x, kSplitVector, expand_.chunk, expand_.last_chunk, expand_.chunks, expand_.x_chunk},
                    in_pixels_, s.x, 0);
    else
      for (int64_t v = 0; v < parts(share.channels, kSplitVector); ++v)
        filter(run, first_vector, first_vector + v, run.x + (first_vector + v) * filter_.x_vector, s.handed);
    bool projects = false;
    for (size_t j = 0; j < share.jobs.size(); ++j) {
      const Job& job = share.jobs[j];
      if (job.project && !projects) split_handed(share, s);
      projects = job.project;
      const SplitWeights next = j + 1 < share.jobs.size() ? weights_of(run, share, j + 1, s.next) : SplitWeights{};
      projects ? project(run, slot, job, next, s) : expand(run, job, next, s);
      std::swap(s.now, s.next);
      if (projects || job.last_depth < job.depths) continue;
      const int64_t vector = job.panel * kPanelVectors;
      for (int64_t v = vector; v < std::min(vector + kPanelVectors, vectors_); ++v)
        filter(run, first_vector, v, s.expanded + (v - vector) * in_pixels_ * kSplitVector, s.handed);
    }
  }

  void split_handed(const Share& share, const Slot& s) const {
    const int64_t vectors = parts(share.channels, kSplitVector);
    kernel_.split({s.handed, kSplitVector, kSplitVector, share.channels - (vectors - 1) * kSplitVector, vectors,
                   out_pixels_ * kSplitVector},
                  out_pixels_, s.handed_parts, 0);
  }

  /// What both convolutions of one pixel have in common.
  [[nodiscard]] static SplitConvPart part_of(const Job& job, const SplitImage& image, int64_t pixels,
                                             const PanelConvProblem& p, const SplitWeights& next, const Slot& s) {
    static constexpr int64_t kOwnPixel = 0;
    SplitConvPart part;
    part.image = image;
    part.positions = part.line = part.pixels = pixels;
    part.taps = &kOwnPixel;
    part.steps = job.depths;
    part.depth = job.depth;
    part.last_depth = job.last_depth;
    part.weights = s.now;
    part.next = next;
    part.sums = s.unfinished;
    part.filters = kSplitPanel;
    part.vectors = std::min(kPanelVectors, parts(p.filters, kSplitVector) - job.panel * kPanelVectors);
    part.y_pixel = kSplitVector;
    part.y_vector = pixels * kSplitVector;
    return part;
  }

  void expand(const Run& run, const Job& job, const SplitWeights& next, const Slot& s) const {
    SplitConvPart part = part_of(job, s.x, in_pixels_, expand_, next, s);
    part.y = s.expanded;
    FloatEpilogue e = run.epilogues[0];
    if (e.bias != nullptr) e.bias += job.panel * kSplitPanel;
    kernel_.run(part, e);
  }

  /// What a share of the channels adds to the result. The first slot's goes where the others' are added to it.
  void project(const Run& run, int64_t slot, const Job& job, const SplitWeights& next, const Slot& s) const {
    SplitConvPart part = part_of(job, s.handed_parts, out_pixels_, project_, next, s);
    const int64_t offset = job.panel * kPanelVectors * part.y_vector;
    part.y = (slot == 0 ? run.y : sums(run, slot)) + offset;
    FloatEpilogue e;
    if (slot == 0) {
      e = run.epilogues[operands_.size() - 1];
      if (slots() > 1) e = FloatEpilogue{.bias = e.bias, .residual = e.residual};
      if (e.bias != nullptr) e.bias += job.panel * kSplitPanel;
      if (e.residual != nullptr) e.residual += offset;
    }
    kernel_.run(part, e);
  }

  /// One vector of channels.
  void filter(const Run& run, int64_t first_vector, int64_t vector, const float* x, float* handed) const {
    const size_t k = has_expand_ ? 1 : 0;
    FloatEpilogue e = run.epilogues[k];
    float* y = handed + (vector - first_vector) * filter_.y_vector;
    if (!has_project_) {
      y = run.y + vector * filter_.y_vector;
      if (e.residual != nullptr) e.residual += vector * filter_.y_vector;
    }
    filter_vector(depthwise_, filter_, vector, 0, filter_.out_h, x, run.weights[k], e, y);
  }

  /// The weights of a job, and where those of the one behind it are.
  [[nodiscard]] SplitWeights weights_of(const Run& run, const Share& share, size_t j, uint16_t* to) const {
    SplitWeights w = weights_of(run, share, share.jobs[j], to);
    if (j + 1 < share.jobs.size()) w.later = weights_of(run, share, share.jobs[j + 1], nullptr).from;
    return w;
  }
  [[nodiscard]] SplitWeights weights_of(const Run& run, const Share& share, const Job& job, uint16_t* to) const {
    const PanelConvProblem& p = job.project ? project_ : expand_;
    const int64_t vector = job.panel * kPanelVectors;
    SplitWeights w{.to = to, .vectors = std::min(kPanelVectors, parts(p.filters, kSplitVector) - vector)};
    // The last convolution's steps are the panels of the channels that it sums.
    const int64_t depth = job.depth + (job.project ? share.panel : 0);
    w.from = run.weights[job.project ? operands_.size() - 1 : 0] +
             kernels::split_weights_offset(vector, p.channels(), 1) + depth * w.vectors * kSplitStep * kSplitVector;
    w.rows = (job.last_depth - job.depth) * w.step_rows();
    return w;
  }

  const SplitConvKernel& kernel_ = *kernels::best_split_conv_kernel();
  const DepthwiseKernel& depthwise_ = kernels::best_depthwise_kernel();
  std::deque<ChainOperands> operands_;
  bool has_expand_ = false;
  bool has_project_ = false;
  int32_t residual_ = -1;
  int64_t images_ = 0;
  int64_t vectors_ = 0;  ///< of channels in the middle
  int64_t in_pixels_ = 0;
  int64_t out_pixels_ = 0;
  int64_t x_image_ = 0;
  int64_t y_image_ = 0;
  DepthwiseProblem filter_;
  PanelConvProblem expand_;
  PanelConvProblem project_;
  RowActivation activation_;  ///< of the last convolution
  std::vector<Share> shares_;
  int64_t x_numbers_ = 0;       ///< the image in parts
  int64_t unfinished_ = 0;      ///< floats of sums that are not finished
  int64_t expanded_ = 0;        ///< floats of one panel of the expanded image
  int64_t handed_ = 0;          ///< floats of what a slot hands on to the last convolution
  int64_t handed_numbers_ = 0;  ///< the same in parts
};

Result<ConvChainParts> chain_parts(const NodeView& view, const Target& target) {
  return conv_chain_parts(view, target, kCpuSplitConv);
}

WhyNot supports(const NodeView& view, const Target& target) {
  if (kernels::best_split_conv_kernel() == nullptr) return "needs a processor with AMX";
  const auto chain = chain_parts(view, target);
  if (!chain.ok()) return chain.error().what;
  return chain->project == nullptr ? std::nullopt : division_refusal(*chain->project);
}

Result<std::vector<PackedConstant>> pack(const NodeView& view, const Target& target) {
  const ConvChainParts chain = PLANISH_TRY(chain_parts(view, target));
  return pack_conv_chain(chain, target);
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed,
                                        const Target& target) {
  const ConvChainParts chain = PLANISH_TRY(chain_parts(view, target));
  auto runner = std::make_unique<SplitChainRunner>(chain, PLANISH_TRY(chain_operands(chain, packed, target)));
  PLANISH_TRY(runner->prepare(chain, target.threads));
  return std::unique_ptr<Kernel>(std::move(runner));
}

constexpr std::array<std::string_view, 1> kOps{"planish.Chain"};

}  // namespace

constinit const Tactic kCpuSplitChain{.id = "cpu.split_chain",
                                      .ops = kOps,
                                      .supports = supports,
                                      .pack = pack,
                                      .prepare = prepare,
                                      .unpack = unpack_conv_chain,
                                      .packs = Tactic::kSeveral,
                                      .lowers_clock = true,
                                      .version = 2};

}  // namespace planish
