// Convolutions and matrix products of f32 on a unit for matrices of bfloat16 (AMX): numbers are split into three parts,
// so that nothing of their 24 bits is lost, and multiplied by six products of parts. The unit is twelve times as fast
// as multiply-adds of f32, so that half the time is left.

#include "planish/kernels/cpu/split_conv/split_conv.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "planish/base/isa.h"
#include "planish/base/parallel.h"
#include "planish/ops/conv_geometry.h"
#include "planish/tactics/cpu/float_conv.h"
#include "planish/tactics/cpu/gemm_product.h"
#include "planish/tactics/cpu/own_tactics.h"
#include "planish/tactics/cpu/packed_product.h"

namespace planish {
namespace {

using kernels::FloatEpilogue;
using kernels::kSplitPanel;
using kernels::kSplitStep;
using kernels::kSplitTile;
using kernels::kSplitVector;
using kernels::PanelConvProblem;
using kernels::SplitConvKernel;
using kernels::SplitConvPart;
using kernels::SplitImage;
using kernels::SplitSource;

constexpr std::string_view kFormat = "pairs_of_panels:32";

int64_t taps_of(const Shape& w) { return element_count(w) / std::max<int64_t>(w[0] * w[1], 1); }

/// How the pixels that a convolution looks at lie in a split image. Pixels are sorted by what is left of their row and
/// column by the strides, with padding, so that the pixels that a tap looks at for neighbouring outputs are neighbours
/// too, from one line to the next as well.
struct SplitLines {
  PanelConvProblem p;
  bool one_pixel = false;  ///< no padding, one tap: any run of output pixels is a piece of work, otherwise lines are
  int64_t line = 0;        ///< positions from one line to the next
  int64_t more_rows = 0;   ///< lines of the image beyond those of the output

  struct Phase {
    int64_t row = 0, column = 0;  ///< what is left
    friend bool operator==(const Phase&, const Phase&) = default;
  };
  std::vector<Phase> phases;
  struct Tap {
    size_t phase = 0;
    int64_t row = 0, column = 0;
  };
  std::vector<Tap> taps;

  SplitLines() = default;
  explicit SplitLines(const PanelConvProblem& problem) : p(problem) {
    one_pixel = p.taps() == 1 && p.pad_top == 0 && p.pad_left == 0 && (p.out_h - 1) * p.stride_h < p.in_h &&
                (p.out_w - 1) * p.stride_w < p.in_w;
    int64_t more_columns = 0;
    for (int64_t r = 0; r < p.kernel_h; ++r)
      for (int64_t t = 0; t < p.kernel_w; ++t) {
        const int64_t y = r * p.dilation_h;
        const int64_t x = t * p.dilation_w;
        const Phase phase{y % p.stride_h, x % p.stride_w};
        const auto found = std::ranges::find(phases, phase);
        taps.push_back({static_cast<size_t>(found - phases.begin()), y / p.stride_h, x / p.stride_w});
        if (found == phases.end()) phases.push_back(phase);
        more_rows = std::max(more_rows, y / p.stride_h);
        more_columns = std::max(more_columns, x / p.stride_w);
      }
    line = p.out_w + more_columns;
  }

  /// Pieces of work of one image.
  [[nodiscard]] int64_t units() const { return one_pixel ? p.out_h * p.out_w : p.out_h; }
  /// Output positions of `count` units.
  [[nodiscard]] int64_t positions(int64_t count) const { return one_pixel ? count : (count - 1) * line + p.out_w; }
  /// Positions of one phase, and of an image that `count` units look at.
  [[nodiscard]] int64_t phase_positions(int64_t count) const { return one_pixel ? count : (count + more_rows) * line; }
  [[nodiscard]] int64_t room(int64_t count) const {
    return static_cast<int64_t>(phases.size()) * phase_positions(count) + line - p.out_w + kSplitTile;
  }
  /// Where the taps look, in an image for `count` units.
  [[nodiscard]] std::vector<int64_t> offsets(int64_t count) const {
    std::vector<int64_t> all;
    for (const Tap& t : taps)
      all.push_back(static_cast<int64_t>(t.phase) * phase_positions(count) + t.row * line + t.column);
    return all;
  }
  /// Lines (or, of one pixel, pixels) that an image for `count` units holds of each phase.
  [[nodiscard]] int64_t held(int64_t count) const { return one_pixel ? count : count + more_rows; }

  /// Splits lines [from, until) of those that the image holds for `count` units from unit `first` on.
  void fill(const SplitConvKernel& kernel, const float* x, int64_t first, int64_t count, int64_t from, int64_t until,
            const SplitImage& image) const {
    SplitSource s{.pixel = p.stride_w * p.x_pixel,
                  .chunk = p.chunk,
                  .last_chunk = p.last_chunk,
                  .chunks = p.chunks,
                  .x_chunk = p.x_chunk};
    if (one_pixel) {
      for (int64_t at = first + from; at < first + until;) {
        const int64_t column = at % p.out_w;
        const int64_t run = std::min(p.out_w - column, first + until - at);
        s.x = x + at / p.out_w * p.stride_h * p.x_row + column * s.pixel;
        kernel.split(s, run, image, at - first);
        at += run;
      }
      return;
    }
    for (size_t k = 0; k < phases.size(); ++k)
      for (int64_t i = from; i < until; ++i)
        fill_line(kernel, s, x, (first + i) * p.stride_h + phases[k].row - p.pad_top, phases[k].column - p.pad_left,
                  image, static_cast<int64_t>(k) * phase_positions(count) + i * line);
  }

 private:
  /// One line of a phase from row `y` of the image, whose position 0 is column `left`.
  void fill_line(const SplitConvKernel& kernel, SplitSource s, const float* x, int64_t y, int64_t left,
                 const SplitImage& image, int64_t position) const {
    const auto up = [this](int64_t n) { return n <= 0 ? 0 : (n + p.stride_w - 1) / p.stride_w; };
    const bool inside = y >= 0 && y < p.in_h;
    const int64_t begin = inside ? std::min(up(-left), line) : line;
    const int64_t end = inside ? std::min(up(p.in_w - left), line) : line;
    // A narrow image may have no column that is left of the phase's.
    const bool any = begin < end;
    kernel.split({.chunk = s.chunk, .last_chunk = s.last_chunk, .chunks = s.chunks}, any ? begin : line, image,
                 position);
    if (!any) return;
    s.x = x + y * p.x_row + (left + begin * p.stride_w) * p.x_pixel;
    kernel.split(s, end - begin, image, position + begin);
    s.x = nullptr;
    kernel.split(s, line - end, image, position + end);
  }
};

class SplitConvRunner final : public Kernel {
 public:
  SplitConvRunner(const NodeView& view, const PanelConvProblem& problem, const FloatEpilogue& epilogue, int threads)
      : lines_(problem),
        epilogue_(epilogue),
        bias_(view),
        has_bias_(view.has_input(kConvB)),
        has_residual_(view.has_input(kConvR)),
        images_(is_conv(view) ? view.outputs[0].shape[0] : 1),
        vectors_(parts(problem.filters, kSplitVector)) {
    const int64_t units = lines_.units();
    const int64_t unit_pixels = lines_.one_pixel ? 1 : problem.out_w;
    const ProductGrid grid({.m = units * unit_pixels,
                            .k = problem.channels() * problem.taps(),
                            .n = problem.filters,
                            .panel = kSplitPanel,
                            .row_unit = lines_.one_pixel ? kSplitTile / 2 : unit_pixels},
                           threads);
    shared_ = images_ == 1 && grid.by_panels > 1 && sharing_pays(grid, threads);
    if (shared_) {
      rows_ = grid.rows / unit_pixels;
      panels_ = grid.panels;
      slots_ = grid.by_rows * grid.by_panels;
      by_panels_ = grid.by_panels;
      chunk_ = units;
    } else {
      slots_ = std::min<int64_t>(threads, images_ * units);
      const int64_t share = std::min(units, parts(images_ * units, slots_));
      const int64_t unit_bytes = kernels::split_size(lines_.room(2) - lines_.room(1), problem.channels()) *
                                 static_cast<int64_t>(sizeof(uint16_t));
      const int64_t most = std::clamp<int64_t>(cpu_features().l2_bytes / 3 / unit_bytes, 1, share);
      chunk_ = parts(share, parts(share, most));
      if (lines_.one_pixel && chunk_ < share) chunk_ = std::min(share, parts(chunk_, 2 * kSplitTile) * 2 * kSplitTile);
    }
    image_numbers_ = kernels::split_size(lines_.room(chunk_), problem.channels());
    steps_ = parts(problem.channels(), kSplitStep);
    const int64_t depth = steps_ * problem.taps();
    depth_ = parts(depth, parts(depth, kMostDepth));
    weights_numbers_ = depth_ * kSplitStep * kSplitPanel * kernels::kSplitParts;
    cached_depth_ = depth;
    if (depth_ < depth) {
      const int64_t rows = shared_ ? rows_ : chunk_;
      if (shared_ && problem.taps() == 1) cached_depth_ = cached_depth(lines_.room(rows), depth);
      panel_sums_ = kernels::split_sums(lines_.positions(rows));
      sums_numbers_ =
          panel_sums_ * (cached_depth_ < depth ? panels_ : 1) * static_cast<int64_t>(sizeof(float) / sizeof(uint16_t));
    }
    offsets_ = lines_.offsets(chunk_);
  }

  [[nodiscard]] size_t workspace_bytes() const override {
    return static_cast<size_t>((shared_ ? 1 : slots_) * image_numbers_ + slots_ * slot_numbers()) * sizeof(uint16_t) +
           kLine;
  }
  [[nodiscard]] std::string detail() const override {
    return fmt::format("{}, {}", kernel_.name,
                       shared_ ? fmt::format("{} by {} parts", slots_ / by_panels_, by_panels_)
                               : fmt::format("{} positions at a time", lines_.positions(chunk_)));
  }

  Status run(const Bindings& b) override {
    Run run;
    run.e = epilogue_;
    if (has_bias_) run.e.bias = bias_.bind(host_ptr<const float>(b.inputs[kConvB]));
    if (has_residual_) run.e.residual = host_ptr<const float>(b.inputs[kConvR]);
    run.x = host_ptr<const float>(b.inputs[kConvX]);
    run.weights = host_ptr<const float>(b.inputs[kConvW]);
    run.y = host_ptr<float>(b.outputs[0]);
    const auto workspace = reinterpret_cast<uintptr_t>(host_ptr<uint16_t>(b.workspace));
    auto* split = reinterpret_cast<uint16_t*>((workspace + kLine - 1) / kLine * kLine);
    run.slots = split + (shared_ ? 1 : slots_) * image_numbers_;
    shared_ ? run_shared(run, split) : run_apart(run, split);
    return {};
  }

 private:
  static constexpr size_t kLine = 64;
  struct Run {
    FloatEpilogue e;
    const float* x = nullptr;
    const float* weights = nullptr;
    float* y = nullptr;
    uint16_t* slots =
        nullptr;  ///< memory of the threads: weights in parts, those that are multiplied and the next, sums
  };
  /// Steps whose weights are split at a time; twice so many stay in the second-level cache beside an image.
  static constexpr int64_t kMostDepth = 16;
  /// Steps of an image of `positions`, of `all`, that stay in the second-level cache while all panels pass.
  [[nodiscard]] int64_t cached_depth(int64_t positions, int64_t all) const {
    const int64_t step_bytes = kernels::split_size(positions, kSplitStep) * static_cast<int64_t>(sizeof(uint16_t));
    const int64_t l2 = cpu_features().l2_bytes;
    if (all * step_bytes <= l2 / 2) return all;
    return std::max<int64_t>(1, l2 / 3 / step_bytes / depth_) * depth_;
  }
  [[nodiscard]] int64_t slot_numbers() const { return 2 * weights_numbers_ + sums_numbers_; }

  /// What a thread reads, of a split image that others made a part of, and with weights of its own, is less than its
  /// own part of an image and all weights. An image counts more than weights: half of it comes from another core.
  [[nodiscard]] bool sharing_pays(const ProductGrid& grid, int threads) const {
    constexpr double kOthers = 1.6;
    const auto image = static_cast<double>(lines_.room(lines_.units()));
    const auto weights = static_cast<double>(vectors_ * kSplitVector * lines_.p.taps());
    return kOthers * image / static_cast<double>(grid.by_rows) + weights / static_cast<double>(grid.by_panels) <
           image / threads + weights;
  }

  [[nodiscard]] SplitImage image(uint16_t* parts) const { return {parts, lines_.room(chunk_)}; }

  /// Every thread multiplies pixels that it has split itself by all weights.
  void run_apart(const Run& run, uint16_t* split) const {
    const int64_t units = lines_.units();
    parallel_for(slots_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t slot = begin; slot < end; ++slot) {
        const SplitImage own = image(split + slot * image_numbers_);
        const int64_t last = images_ * units * (slot + 1) / slots_;
        for (int64_t at = images_ * units * slot / slots_; at < last;) {
          const int64_t unit = at % units;
          const int64_t count = std::min({chunk_, last - at, units - unit});
          lines_.fill(kernel_, run.x + at / units * lines_.p.x_image, unit, chunk_, 0, lines_.held(count), own);
          multiply(run, slot, own, 0, at / units, unit, count, 0, panel_count());
          at += count;
        }
      }
    });
  }

  /// One image, split by all threads before they multiply it by some of the weights each.
  void run_shared(const Run& run, uint16_t* split) const {
    const SplitImage all = image(split);
    const int64_t grain = lines_.one_pixel ? kSplitTile : 1;
    parallel_for(lines_.held(chunk_), grain,
                 [&](int64_t begin, int64_t end) { lines_.fill(kernel_, run.x, 0, chunk_, begin, end, all); });
    parallel_for(slots_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t slot = begin; slot < end; ++slot) {
        const int64_t unit = slot / by_panels_ * rows_;
        const int64_t panel = slot % by_panels_ * panels_;
        multiply(run, slot, all, unit, 0, unit, std::min(rows_, lines_.units() - unit), panel,
                 std::min(panel + panels_, panel_count()));
      }
    });
  }

  [[nodiscard]] int64_t panel_count() const { return parts(vectors_, 2); }

  /// `count` units of an image from unit `unit` on, which is the split image's unit `held`, by panels [panel, last).
  void multiply(const Run& run, int64_t slot, const SplitImage& image, int64_t held, int64_t number, int64_t unit,
                int64_t count, int64_t panel, int64_t last) const {
    const PanelConvProblem& p = lines_.p;
    SplitConvPart part;
    part.image = image;
    part.first = lines_.one_pixel ? held : held * lines_.line;
    part.positions = lines_.positions(count);
    part.line = lines_.one_pixel ? part.positions : lines_.line;
    part.pixels = lines_.one_pixel ? part.positions : p.out_w;
    part.taps = offsets_.data();
    part.tap_count = static_cast<int64_t>(offsets_.size());
    part.steps = steps_;
    part.y_pixel = p.y_pixel;
    part.y_row = p.y_row;
    part.y_vector = p.y_vector;
    const int64_t offset = number * p.y_image + unit * (lines_.one_pixel ? p.y_pixel : p.y_row);
    const int64_t depths = part.tap_count * part.steps;
    uint16_t* now = run.slots + slot * slot_numbers();
    uint16_t* next = now + weights_numbers_;
    auto* const sums = reinterpret_cast<float*>(next + weights_numbers_);
    const int64_t first = panel;
    // All steps of one panel after those of the other; of a deep image, those that the cache holds of all panels first.
    struct Slice {
      int64_t panel, depth;
    };
    const auto last_of = [this, depths](const Slice& s) {
      const int64_t cached = (s.depth / cached_depth_ + 1) * cached_depth_;
      return std::min({s.depth + depth_, cached, depths});
    };
    const auto behind = [&](const Slice& s) -> Slice {
      const int64_t end = last_of(s);
      const int64_t begin = s.depth / cached_depth_ * cached_depth_;
      if (end < depths && end < begin + cached_depth_) return {s.panel, end};
      if (s.panel + 1 < last) return {s.panel + 1, begin};
      return {first, begin + cached_depth_};
    };
    kernel_.split_weights(weights_of(run, first, 0, now));
    for (Slice slice{first, 0}; slice.depth < depths;) {
      const Slice later = behind(slice);
      const int64_t vector = 2 * slice.panel;
      part.vectors = std::min<int64_t>(2, vectors_ - vector);
      part.filters = p.whole_vectors ? kSplitPanel : p.filters - vector * kSplitVector;
      part.y = run.y + offset + vector * p.y_vector;
      part.sums = cached_depth_ < depths ? sums + (slice.panel - first) * panel_sums_ : sums;
      FloatEpilogue e = run.e;
      if (e.bias != nullptr) e.bias += vector * kSplitVector;
      if (e.residual != nullptr) e.residual += offset + vector * p.y_vector;
      part.depth = slice.depth;
      part.last_depth = last_of(slice);
      part.weights = now;
      part.next = later.depth < depths ? weights_of(run, later.panel, later.depth, next) : kernels::SplitWeights{};
      kernel_.run(part, e);
      std::swap(now, next);
      slice = later;
    }
  }

  /// The weights of a panel from step `depth` of all taps on, as many as are split at a time.
  [[nodiscard]] kernels::SplitWeights weights_of(const Run& run, int64_t panel, int64_t depth, uint16_t* to) const {
    const PanelConvProblem& p = lines_.p;
    const int64_t vectors = std::min<int64_t>(2, vectors_ - 2 * panel);
    const int64_t steps = std::min(depth_, steps_ * p.taps() - depth);
    kernels::SplitWeights w{.from = run.weights + kernels::split_weights_offset(2 * panel, p.channels(), p.taps()) +
                                    depth * vectors * kSplitStep * kSplitVector,
                            .to = to,
                            .vectors = vectors};
    w.rows = steps * w.step_rows();
    // Sooner than they are needed weights only push others out; behind the last of all fetching does no harm.
    constexpr int64_t kAhead = 8192;  // floats
    w.later = w.from + kAhead;
    return w;
  }

  const SplitConvKernel& kernel_ = *kernels::best_split_conv_kernel();
  SplitLines lines_;
  std::vector<int64_t> offsets_;
  FloatEpilogue epilogue_;
  PaddedBias bias_;
  bool has_bias_ = false;
  bool has_residual_ = false;
  int64_t images_ = 0;
  int64_t vectors_ = 0;  ///< of filters
  bool shared_ = false;  ///< one split image for all threads
  int64_t slots_ = 1;
  int64_t rows_ = 0, panels_ = 0, by_panels_ = 1;  ///< shared: units and panels of a slot
  int64_t chunk_ = 0;                              ///< units of a split image
  int64_t image_numbers_ = 0;
  int64_t steps_ = 0;
  int64_t depth_ = 0;         ///< steps of all taps that are multiplied at a time
  int64_t cached_depth_ = 0;  ///< steps that are multiplied by all panels before the next
  int64_t panel_sums_ = 0;    ///< floats of a panel's sums, where they wait
  int64_t weights_numbers_ = 0, sums_numbers_ = 0;
};

WhyNot supports(const NodeView& view, const Target&) {
  if (kernels::best_split_conv_kernel() == nullptr) return "needs a processor with AMX";
  if (WhyNot why = float_conv_refusal(view, kSplitVector)) return why;
  if (view.node->attr_int("group", 1) != 1) return "has no groups";
  for (const TensorDesc& d : {view.inputs[kConvX], view.outputs[0]})
    if (d.layout == Layout::row_major) return "reads and writes channels-last and blocked tensors only";
  const auto conv = resolve_conv(*view.node, view.inputs[kConvX].shape, view.inputs[kConvW].shape);
  if (!conv.ok()) return conv.error().what;
  for (size_t axis = 0; axis < conv->window.axes(); ++axis)
    // The split image would be mostly padding.
    for (const int64_t pad : {conv->window.pads_begin[axis], conv->window.pads_end[axis]})
      if (pad < 0 || pad >= conv->window.kernel[axis] * conv->window.dilations[axis])
        return "takes pads within the window only";
  return std::nullopt;
}

WhyNot supports_product(const NodeView& view, const Target&) {
  if (kernels::best_split_conv_kernel() == nullptr) return "needs a processor with AMX";
  return float_product_refusal(view);
}

/// A convolution's weights, or those of a matrix product with its columns as filters.
struct WeightShape {
  int64_t filters = 0, channels = 0, taps = 1;

  explicit WeightShape(const NodeView& view) {
    const ProductWeights w(view);
    filters = w.n;
    channels = w.k;
    if (is_conv(view)) taps = taps_of(view.inputs[kConvW].shape);
  }
  [[nodiscard]] int64_t packed_size() const {
    return kernels::split_weights_offset(parts(filters, kSplitVector), channels, taps);
  }
};

/// Calls f(index of a column's weight among those of all columns one after the other, index in the node's weights).
template <typename F>
void each_by_column(const NodeView& view, F f) {
  const ProductWeights w(view);
  for (int64_t j = 0; j < w.n; ++j)
    for (int64_t i = 0; i < w.k; ++i)
      f(static_cast<size_t>(j * w.k + i), static_cast<size_t>(i * w.k_stride + j * w.n_stride));
}

Result<std::vector<PackedConstant>> pack(const NodeView& view, const Target&) {
  const WeightShape s(view);
  const auto* w = view.constants[kConvW]->data<float>();
  std::vector<float> columns;
  if (!is_conv(view)) {
    columns.resize(static_cast<size_t>(s.filters * s.channels));
    each_by_column(view, [&](size_t to, size_t from) { columns[to] = w[from]; });
    w = columns.data();
  }
  Tensor out(DType::f32, {s.packed_size()});
  kernels::pack_split_weights(s.filters, s.channels, s.taps, w, out.data<float>());
  return std::vector<PackedConstant>{{static_cast<int32_t>(kConvW), std::string(kFormat), std::move(out)}};
}

bool is_packed(const NodeView& view, const PackedConstant& packed) {
  return packed.format == kFormat &&
         packed.data.bytes() == static_cast<size_t>(WeightShape(view).packed_size()) * sizeof(float);
}

Result<Tensor> unpack(const NodeView& view, const PackedConstant& packed) {
  if (!is_packed(view, packed))
    return Error{
        .code = Code::corrupt, .node = view.node->name, .what = "packed weights have an unknown format or size"};
  const WeightShape s(view);
  Tensor out(DType::f32, view.inputs[kConvW].shape);
  const auto* from = static_cast<const float*>(packed.data.raw());
  if (is_conv(view)) {
    kernels::unpack_split_weights(s.filters, s.channels, s.taps, from, out.data<float>());
    return out;
  }
  std::vector<float> columns(static_cast<size_t>(s.filters * s.channels));
  kernels::unpack_split_weights(s.filters, s.channels, s.taps, from, columns.data());
  each_by_column(view, [&](size_t column, size_t to) { out.data<float>()[to] = columns[column]; });
  return out;
}

/// The rows of a product are pixels of an image of one line.
PanelConvProblem rows_problem(const NodeView& view) {
  const ProductWeights w(view);
  PanelConvProblem p;
  p.in_w = p.out_w = view.inputs[kA].size() / w.k;
  p.chunk = p.last_chunk = p.x_pixel = w.k;
  p.chunks = 1;
  p.filters = p.y_pixel = w.n;
  p.y_vector = kSplitVector;
  p.x_row = p.x_image = p.in_w * w.k;
  p.y_row = p.y_image = p.out_w * w.n;
  return p;
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed,
                                        const Target& target) {
  if (packed.empty() || !is_packed(view, packed[0]))
    return Error{
        .code = Code::unsupported, .node = view.node->name, .what = "the packed weights are for another machine"};
  const PanelConvProblem p = is_conv(view) ? PLANISH_TRY(panel_conv_problem(view, kSplitVector)) : rows_problem(view);
  const FloatEpilogue epilogue = PLANISH_TRY(float_epilogue(view));
  return std::unique_ptr<Kernel>(new SplitConvRunner(view, p, epilogue, target.threads));
}

constexpr std::array<std::string_view, 1> kOps{"planish.FusedConv"};
constexpr std::array<std::string_view, 1> kProductOps{"planish.FusedMatMul"};

}  // namespace

constinit const Tactic kCpuSplitConv{.id = "cpu.split_conv",
                                     .ops = kOps,
                                     .supports = supports,
                                     .pack = pack,
                                     .prepare = prepare,
                                     .unpack = unpack,
                                     .lowers_clock = true,
                                     .version = 3};
constinit const Tactic kCpuSplitGemm{.id = "cpu.split_gemm",
                                     .ops = kProductOps,
                                     .supports = supports_product,
                                     .pack = pack,
                                     .prepare = prepare,
                                     .unpack = unpack,
                                     .lowers_clock = true,
                                     .version = 2};

}  // namespace planish
