// Convolutions of any window by our own kernels: products of pixels with packed panels of weights.

#include "planish/kernels/cpu/panel_conv/panel_conv.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "planish/base/isa.h"
#include "planish/base/parallel.h"
#include "planish/ops/conv_geometry.h"
#include "planish/tactics/cpu/float_conv.h"
#include "planish/tactics/cpu/own_tactics.h"
#include "planish/tactics/cpu/window.h"

namespace planish {
namespace {

using kernels::FloatEpilogue;
using kernels::PanelConvKernel;
using kernels::PanelConvPart;
using kernels::PanelConvProblem;
using kernels::Panels;

/// Row-major images with more channels than this have their numbers too far apart.
constexpr int64_t kMostPlanes = 4;

/// What the packed form depends on: floats per vector, vectors per panel.
struct Format {
  int64_t width = 0;
  int64_t vectors = 0;
};

int64_t taps_of(const Shape& w) { return element_count(w) / std::max<int64_t>(w[0] * w[1], 1); }

/// Pixels of an output line up to which the ends of lines count, and how few steps a line takes.
constexpr int64_t kShortLine = 20;

/// The form of the weights that is best for a convolution. A step takes as many pixels of one line as registers allow,
/// and for each step a panel comes out of the second-level cache once more: in short lines narrow panels, which leave
/// room for more pixels, are worth it. Of a few planes they are what cpu.stem_conv reads.
Format format_for(const PanelConvKernel& kernel, const NodeView& view) {
  const bool narrow = taps_of(view.inputs[kConvW].shape) == 1 || view.outputs[0].shape[3] <= kShortLine ||
                      view.inputs[kConvX].layout == Layout::row_major;
  return {kernel.width, narrow ? kernel.vectors : kernel.window_vectors};
}

/// Packed weights: by panel, [tap][channel][filters of the panel].
class PackedWeights {
 public:
  /// `w`: [filters, channels, kernel...].
  PackedWeights(const Shape& w, const Format& f)
      : filters_(w[0]), channels_(w[1]), taps_(taps_of(w)), width_(f.width), panels_(w[0], f.width, f.vectors) {}

  [[nodiscard]] int64_t size() const { return panels_.vectors * width_ * channels_ * taps_; }

  /// Calls f(packed index, plain index) for every weight.
  template <typename F>
  void for_each(F f) const {
    for (int64_t i = 0; i < panels_.count; ++i) {
      const int64_t first = panels_.begin(i) * width_;
      const int64_t wide = panels_.begin(i + 1) * width_ - first;
      for (int64_t k = first; k < std::min(first + wide, filters_); ++k)
        for (int64_t c = 0; c < channels_; ++c)
          for (int64_t t = 0; t < taps_; ++t)
            f(first * channels_ * taps_ + (t * channels_ + c) * wide + k - first, (k * channels_ + c) * taps_ + t);
    }
  }

 private:
  int64_t filters_;
  int64_t channels_;
  int64_t taps_;
  int64_t width_;
  Panels panels_;
};

std::string format_name(const Format& f) { return fmt::format("even_panels:{}:{}", f.width, f.vectors); }

std::optional<Format> parse_format(std::string_view name) {
  constexpr std::string_view kPrefix = "even_panels:";
  constexpr int64_t kLargest = 64;
  if (!name.starts_with(kPrefix)) return std::nullopt;
  Format f;
  const char* end = name.data() + name.size();
  const auto width = std::from_chars(name.data() + kPrefix.size(), end, f.width);
  if (width.ec != std::errc() || width.ptr == end || *width.ptr != ':') return std::nullopt;
  const auto vectors = std::from_chars(width.ptr + 1, end, f.vectors);
  if (vectors.ec != std::errc() || vectors.ptr != end) return std::nullopt;
  if (f.width < 1 || f.vectors < 1 || f.width > kLargest || f.vectors > kLargest) return std::nullopt;
  return f;
}

/// A copy of the image whose lines have room for taps beyond their ends. Without it the pixels there are steps of their
/// own, which in short lines takes a fifth of the time.
class WiderLines {
 public:
  /// Makes `p` the problem with the copy for its image, where that pays.
  WiderLines(PanelConvProblem& p, int64_t images) : from_(p), images_(images) {
    constexpr int64_t kLeastFilters = 32;
    if (p.taps() == 1 || p.out_w > kShortLine || p.filters < kLeastFilters) return;
    right_ =
        std::max<int64_t>(0, (p.out_w - 1) * p.stride_w + (p.kernel_w - 1) * p.dilation_w + 1 - p.in_w - p.pad_left);
    // Taps far beyond the ends (dilations) are cheaper left out than multiplied, and take no memory.
    if (p.pad_left + right_ == 0 || p.pad_left + right_ > p.in_w) return;
    planes_ = p.x_chunk == 0 ? 1 : p.chunks;
    p.in_w += p.pad_left + right_;
    p.x_row = p.in_w * p.x_pixel;
    if (p.x_chunk != 0) p.x_chunk = p.in_h * p.x_row;
    p.x_image = planes_ * p.in_h * p.x_row;
    p.pad_left = 0;
    row_ = p.x_row;
    floats_ = images * p.x_image;
  }

  [[nodiscard]] int64_t floats() const { return floats_; }
  /// `x`, or its copy in `workspace`.
  const float* fill(const float* x, float* workspace) const {
    if (floats_ == 0) return x;
    constexpr int64_t kGrain = 16;  // lines
    const int64_t lines = planes_ * from_.in_h;
    parallel_for(images_ * lines, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t of_image = i % lines;
        const float* line =
            x + i / lines * from_.x_image + of_image / from_.in_h * from_.x_chunk + of_image % from_.in_h * from_.x_row;
        float* to = std::fill_n(workspace + i * row_, from_.pad_left * from_.x_pixel, 0.0F);
        to = std::copy_n(line, from_.in_w * from_.x_pixel, to);
        std::fill_n(to, right_ * from_.x_pixel, 0.0F);
      }
    });
    return workspace;
  }

 private:
  PanelConvProblem from_;
  int64_t images_ = 0;
  int64_t right_ = 0;
  int64_t planes_ = 1;
  int64_t row_ = 0;
  int64_t floats_ = 0;  ///< 0: none is made
};

class PanelConvRunner final : public Kernel {
 public:
  PanelConvRunner(const NodeView& view, const PanelConvKernel& kernel, int64_t panel_vectors, PanelConvProblem problem,
                  const FloatEpilogue& epilogue, int threads)
      : kernel_(kernel),
        wider_(problem, view.outputs[0].shape[0]),
        work_(kernel, panel_vectors, problem, view.outputs[0].shape[0] * problem.out_h * problem.out_w, threads),
        epilogue_(epilogue),
        bias_(view),
        has_bias_(view.has_input(kConvB)),
        has_residual_(view.has_input(kConvR)) {}

  [[nodiscard]] size_t workspace_bytes() const override { return static_cast<size_t>(wider_.floats()) * sizeof(float); }
  [[nodiscard]] std::string detail() const override { return std::string(kernel_.name); }

  Status run(const Bindings& b) override {
    FloatEpilogue e = epilogue_;
    if (has_bias_) e.bias = bias_.bind(host_ptr<const float>(b.inputs[kConvB]));
    if (has_residual_) e.residual = host_ptr<const float>(b.inputs[kConvR]);
    const float* x = wider_.fill(host_ptr<const float>(b.inputs[kConvX]), host_ptr<float>(b.workspace));
    const auto* weights = host_ptr<const float>(b.inputs[kConvW]);
    auto* y = host_ptr<float>(b.outputs[0]);
    parallel_for(work_.slots(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t slot = begin; slot < end; ++slot) work_.run(slot, x, weights, e, y);
    });
    return {};
  }

 private:
  const PanelConvKernel& kernel_;
  WiderLines wider_;
  PanelConvWork work_;
  FloatEpilogue epilogue_;
  PaddedBias bias_;
  bool has_bias_ = false;
  bool has_residual_ = false;
};

WhyNot supports(const NodeView& view, const Target&) {
  const TensorDesc& x = view.inputs[kConvX];
  if (WhyNot why = float_conv_refusal(view, kernels::best_panel_conv_kernel().width)) return why;
  if (view.node->attr_int("group", 1) != 1) return "has no groups";
  if (view.outputs[0].layout == Layout::row_major) return "writes channels-last and blocked tensors only";
  if (x.layout == Layout::row_major && x.shape[1] > kMostPlanes)
    return fmt::format("reads at most {} planes of a row-major image, got {}", kMostPlanes, x.shape[1]);
  return std::nullopt;
}

Result<std::vector<PackedConstant>> pack(const NodeView& view, const Target&) {
  const PanelConvKernel& kernel = kernels::best_panel_conv_kernel();
  const Format format = format_for(kernel, view);
  const PackedWeights packed(view.inputs[kConvW].shape, format);
  Tensor out(DType::f32, {packed.size()});
  auto* to = out.data<float>();
  std::fill_n(to, packed.size(), 0.0F);
  const auto* from = view.constants[kConvW]->data<float>();
  packed.for_each([&](int64_t at, int64_t plain) { to[at] = from[plain]; });
  return std::vector<PackedConstant>{{static_cast<int32_t>(kConvW), format_name(format), std::move(out)}};
}

Error unknown_format(const NodeView& view) {
  return Error{.code = Code::corrupt, .node = view.node->name, .what = "packed weights have an unknown format"};
}

Result<Tensor> unpack(const NodeView& view, const PackedConstant& p) {
  const auto f = parse_format(p.format);
  const Shape& w = view.inputs[kConvW].shape;
  if (!f) return unknown_format(view);
  const PackedWeights packed(w, *f);
  if (p.data.bytes() != static_cast<size_t>(packed.size()) * sizeof(float)) return unknown_format(view);
  Tensor out(DType::f32, w);
  const auto* from = p.data.data<float>();
  auto* to = out.data<float>();
  packed.for_each([&](int64_t at, int64_t plain) { to[plain] = from[at]; });
  return out;
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed,
                                        const Target& target) {
  const PanelConvKernel& kernel = kernels::best_panel_conv_kernel();
  const PanelConvProblem p = PLANISH_TRY(panel_conv_problem(view, kernel.width));
  const int64_t vectors = PLANISH_TRY(panel_vectors(view, packed));
  const FloatEpilogue epilogue = PLANISH_TRY(float_epilogue(view));
  return std::unique_ptr<Kernel>(new PanelConvRunner(view, kernel, vectors, p, epilogue, target.threads));
}

constexpr std::array<std::string_view, 1> kOps{"planish.FusedConv"};

}  // namespace

Result<int64_t> panel_vectors(const NodeView& view, std::span<const PackedConstant> packed) {
  const PanelConvKernel& kernel = kernels::best_panel_conv_kernel();
  // Windows over other shapes than the tuned ones may like the other panels better, and read these.
  const auto format = packed.empty() ? std::nullopt : parse_format(packed[0].format);
  const bool one_tap = taps_of(view.inputs[kConvW].shape) == 1;
  if (!format || format->width != kernel.width ||
      (format->vectors != kernel.vectors && (one_tap || format->vectors != kernel.window_vectors)) ||
      packed[0].data.bytes() !=
          static_cast<size_t>(PackedWeights(view.inputs[kConvW].shape, *format).size()) * sizeof(float))
    return Error{
        .code = Code::unsupported, .node = view.node->name, .what = "the packed weights are for another machine"};
  return format->vectors;
}

// Threads share out pixels or panels, whichever leaves less idle; where both do, whichever is read less twice.
PanelConvWork::PanelConvWork(const PanelConvKernel& kernel, int64_t panel_vectors, const PanelConvProblem& problem,
                             int64_t pixels, int threads)
    : kernel_(&kernel),
      p_(problem),
      panels_(problem.filters, kernel.width, panel_vectors),
      panel_floats_(problem.taps() * problem.channels() * kernel.width),
      pixels_(pixels) {
  constexpr int64_t kGrain = 24;  // pixels: about two steps of the kernel
  constexpr int64_t kLeast = 6;   // pixels that make a thread worth waking
  const auto waste = [threads](int64_t largest_share, int64_t all) {
    return static_cast<double>(largest_share * threads) / static_cast<double>(all);
  };
  const int64_t most_panels = std::min<int64_t>(threads, panels_.count);
  int64_t widest = 0;
  for (int64_t slot = 0; slot < most_panels; ++slot)
    widest = std::max(widest, panels_.begin(panels_.count * (slot + 1) / most_panels) -
                                  panels_.begin(panels_.count * slot / most_panels));
  const int64_t most_pixels = std::clamp<int64_t>(pixels_ / kLeast, 1, threads);
  const double by_pixels = waste((pixels_ + most_pixels - 1) / most_pixels, pixels_);
  const double by_panels = waste(widest, panels_.vectors);
  by_panels_ = by_panels < by_pixels - 0.02 || (by_panels < by_pixels + 0.02 && p_.filters > pixels_);
  slots_ = by_panels_ ? most_panels : most_pixels;
  // Few rows of taps at a time where the cache would not keep a panel from one pixel to the next, and the one behind
  // it.
  const int64_t panel_bytes =
      std::min(panel_vectors, panels_.vectors) * panel_floats_ * static_cast<int64_t>(sizeof(float));
  const int64_t cached = cpu_features().l2_bytes / 4;
  const int64_t cuts = std::clamp<int64_t>((panel_bytes + cached - 1) / cached, 1, p_.kernel_h);
  tap_rows_ = (p_.kernel_h + cuts - 1) / cuts;
  // One panel after the other for all pixels, where those stay in the second-level cache: so a panel is read once, and
  // the next one comes out of memory meanwhile.
  const int64_t per_pixel = p_.stride_h * p_.stride_w * p_.channels() * static_cast<int64_t>(sizeof(float));
  at_once_ = pixels_;
  if (!by_panels_) at_once_ = std::max<int64_t>(kGrain, cpu_features().l2_bytes / 2 / per_pixel / kGrain * kGrain);
}

void PanelConvWork::run(int64_t slot, const float* x, const float* weights, const FloatEpilogue& epilogue,
                        float* y) const {
  const int64_t first_panel = by_panels_ ? panels_.count * slot / slots_ : 0;
  const int64_t last_panel = by_panels_ ? panels_.count * (slot + 1) / slots_ : panels_.count;
  const int64_t first = by_panels_ ? 0 : pixels_ * slot / slots_;
  const int64_t last = by_panels_ ? pixels_ : pixels_ * (slot + 1) / slots_;
  for (int64_t pixel = first; pixel < last; pixel += at_once_)
    for (int64_t panel = first_panel; panel < last_panel; ++panel)
      run_panel(panel, last_panel, pixel, std::min(at_once_, last - pixel), pixel == first, x, weights, epilogue, y);
}

void PanelConvWork::run_panel(int64_t panel, int64_t last_panel, int64_t pixel, int64_t pixels, bool fresh,
                              const float* x, const float* weights, const FloatEpilogue& epilogue, float* y) const {
  const int64_t vector = panels_.begin(panel);
  const int64_t vectors = panels_.begin(panel + 1) - vector;
  const float* own = weights + vector * panel_floats_;
  const auto row_floats = [this](int64_t of_vectors) { return of_vectors * panel_floats_ / p_.kernel_h; };
  for (int64_t row = 0; row < p_.kernel_h; row += tap_rows_) {
    const int64_t end = std::min(row + tap_rows_, p_.kernel_h);
    PanelConvPart part{.pixel = pixel, .pixels = pixels, .vector = vector, .vectors = vectors};
    part.tap_row = row;
    part.last_tap_row = end;
    const bool more_rows = end < p_.kernel_h;
    if (fresh && (more_rows || panel + 1 < last_panel)) {
      const int64_t next_vectors = more_rows ? vectors : panels_.begin(panel + 2) - panels_.begin(panel + 1);
      part.later = own + end * row_floats(vectors);
      part.later_floats = (more_rows ? std::min(tap_rows_, p_.kernel_h - end) : tap_rows_) * row_floats(next_vectors);
    }
    kernel_->run(p_, part, x, own, epilogue, y);
  }
}

Result<PanelConvProblem> panel_conv_problem(const NodeView& view, int64_t width) {
  const TensorDesc& x = view.inputs[kConvX];
  const TensorDesc& y = view.outputs[0];
  const ConvShape conv = PLANISH_TRY(resolve_conv(*view.node, x.shape, view.inputs[kConvW].shape));
  PanelConvProblem p;
  set_window(conv.window, p);
  const int64_t block = layout_block(x.layout);
  const int64_t plane = p.in_h * p.in_w;
  if (x.layout == Layout::channels_last) {
    p.chunk = p.last_chunk = p.x_pixel = conv.c;
  } else {
    p.chunk = p.x_pixel = block;
    p.chunks = stored_channels(x) / block;
    p.last_chunk = conv.c - (p.chunks - 1) * block;
    p.x_chunk = plane * block;
  }
  p.x_row = p.x_pixel * p.in_w;
  p.x_image = stored_channels(x) * plane;
  p.filters = conv.k;
  p.whole_vectors = layout_block(y.layout) > 1;
  p.y_pixel = p.whole_vectors ? layout_block(y.layout) : conv.k;
  p.y_vector = p.whole_vectors ? p.out_h * p.out_w * width : width;
  p.y_row = p.y_pixel * p.out_w;
  p.y_image = stored_channels(y) * p.out_h * p.out_w;
  // Where a pixel looks at itself alone, an image is one long line.
  if (p.taps() == 1 && p.stride_h == 1 && p.stride_w == 1 && p.in_h == p.out_h && p.in_w == p.out_w) {
    p.in_w = p.out_w = plane;
    p.in_h = p.out_h = 1;
  }
  return p;
}

constinit const Tactic kCpuPanelConv{.id = "cpu.panel_conv",
                                     .ops = kOps,
                                     .supports = supports,
                                     .pack = pack,
                                     .prepare = prepare,
                                     .unpack = unpack,
                                     .version = 11};

}  // namespace planish
