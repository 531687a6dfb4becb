// Depthwise convolutions by our own kernels.

#include "planish/kernels/cpu/depthwise/depthwise.h"

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

using kernels::DepthwiseKernel;
using kernels::DepthwiseProblem;
using kernels::FloatEpilogue;

class DepthwiseRunner final : public Kernel {
 public:
  DepthwiseRunner(const NodeView& view, const DepthwiseKernel& kernel, const DepthwiseProblem& problem,
                  const FloatEpilogue& epilogue, int threads)
      : k_(kernel),
        p_(problem),
        epilogue_(epilogue),
        bias_(view),
        has_bias_(view.has_input(kConvB)),
        has_residual_(view.has_input(kConvR)),
        images_(view.outputs[0].shape[0]),
        vectors_((problem.channels + kernel.width - 1) / kernel.width),
        slots_(by_lines(problem, images_, threads) ? threads : 0) {}

  [[nodiscard]] std::string detail() const override { return std::string(k_.name); }

  Status run(const Bindings& b) override {
    FloatEpilogue e = epilogue_;
    if (has_bias_) e.bias = bias_.bind(host_ptr<const float>(b.inputs[kConvB]));
    if (has_residual_) e.residual = host_ptr<const float>(b.inputs[kConvR]);
    const auto* x = host_ptr<const float>(b.inputs[kConvX]);
    const auto* weights = host_ptr<const float>(b.inputs[kConvW]);
    auto* y = host_ptr<float>(b.outputs[0]);
    const auto rows_of = [&](int64_t image, int64_t vector, int64_t row, int64_t rows) {
      k_.run(p_, {image, vector, row, rows}, x, weights, e, y);
    };
    if (slots_ > 0)
      share_out_lines(rows_of);
    else
      share_out_channels(rows_of);
    return {};
  }

 private:
  /// Calls f(image, vector of channels, line, lines) for all there are, on several threads.
  template <typename F>
  void share_out_lines(F f) const {
    const int64_t lines = images_ * p_.out_h;
    parallel_for(slots_, 1, [&](int64_t begin, int64_t end) {
      const int64_t last = lines * end / slots_;
      for (int64_t at = lines * begin / slots_; at < last;) {
        const int64_t row = at % p_.out_h;
        const int64_t rows = std::min(last - at, p_.out_h - row);
        for (int64_t v = 0; v < vectors_; ++v) f(at / p_.out_h, v, row, rows);
        at += rows;
      }
    });
  }
  template <typename F>
  void share_out_channels(F f) const {
    constexpr int64_t kGrain = 4;  // lines
    parallel_for(images_ * vectors_ * p_.out_h, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t at = begin; at < end;) {
        const int64_t plane = at / p_.out_h;
        const int64_t row = at % p_.out_h;
        const int64_t rows = std::min(end - at, p_.out_h - row);
        f(plane / vectors_, plane % vectors_, row, rows);
        at += rows;
      }
    });
  }

  /// Whether threads share out lines of all channels, as convolutions of many pixels do in front and behind (see
  /// PanelConvWork), so that what one made and the next reads lies in the same core's cache; or channels.
  static bool by_lines(const DepthwiseProblem& p, int64_t images, int threads) {
    constexpr double kIdle = 1.1;
    const int64_t lines = images * p.out_h;
    const int64_t largest = (lines + threads - 1) / threads;
    return p.channels <= p.in_h * p.in_w &&
           static_cast<double>(largest * threads) <= kIdle * static_cast<double>(lines);
  }

  const DepthwiseKernel& k_;
  DepthwiseProblem p_;
  FloatEpilogue epilogue_;
  PaddedBias bias_;
  bool has_bias_ = false;
  bool has_residual_ = false;
  int64_t images_ = 0;
  int64_t vectors_ = 0;
  int64_t slots_ = 0;  ///< that share out lines; 0: channels are shared out
};

WhyNot supports(const NodeView& view, const Target&) {
  const int64_t width = kernels::best_depthwise_kernel().width;
  const TensorDesc& x = view.inputs[kConvX];
  const Shape& w = view.inputs[kConvW].shape;
  if (WhyNot why = float_conv_refusal(view, width)) return why;
  if (view.node->attr_int("group", 1) != x.shape[1] || w[0] != x.shape[1] || w[1] != 1)
    return "needs one filter and one channel per group";
  if (x.layout == Layout::row_major || x.layout != view.outputs[0].layout)
    return "takes channels-last and blocked tensors only, the same on both sides";
  if (x.layout == Layout::channels_last && x.shape[1] % width != 0)
    return fmt::format("needs channels in multiples of {}, got {}", width, x.shape[1]);
  return std::nullopt;
}

/// Calls f(packed index, plain index) for weights packed as [vector][tap][channel of the vector].
template <typename F>
void for_each_weight(const Shape& w, int64_t width, F f) {
  const int64_t taps = element_count(w) / w[0];
  for (int64_t c = 0; c < w[0]; ++c)
    for (int64_t t = 0; t < taps; ++t) f((c / width * taps + t) * width + c % width, c * taps + t);
}

int64_t packed_floats(const Shape& w, int64_t width) {
  return (w[0] + width - 1) / width * width * (element_count(w) / w[0]);
}

constexpr std::string_view kFormat = "depthwise_f32:";

Result<std::vector<PackedConstant>> pack(const NodeView& view, const Target&) {
  const int64_t width = kernels::best_depthwise_kernel().width;
  const Shape& w = view.inputs[kConvW].shape;
  Tensor out(DType::f32, {packed_floats(w, width)});
  auto* to = out.data<float>();
  std::fill_n(to, out.size(), 0.0F);
  const auto* from = view.constants[kConvW]->data<float>();
  for_each_weight(w, width, [&](int64_t at, int64_t plain) { to[at] = from[plain]; });
  return std::vector<PackedConstant>{{static_cast<int32_t>(kConvW), fmt::format("{}{}", kFormat, width), out}};
}

/// Floats per vector of a packed form; 0 for formats that are not ours.
int64_t format_width(std::string_view name) {
  constexpr int64_t kLargest = 64;
  if (!name.starts_with(kFormat)) return 0;
  int64_t width = 0;
  const char* end = name.data() + name.size();
  const auto [p, ec] = std::from_chars(name.data() + kFormat.size(), end, width);
  return ec == std::errc() && p == end && width > 0 && width <= kLargest ? width : 0;
}

Error refused(const NodeView& view, Code code, std::string what) {
  Error e;
  e.code = code;
  e.node = view.node->name;
  e.what = std::move(what);
  return e;
}

Result<Tensor> unpack(const NodeView& view, const PackedConstant& p) {
  const int64_t width = format_width(p.format);
  const Shape& w = view.inputs[kConvW].shape;
  if (width == 0 || p.data.bytes() != static_cast<size_t>(packed_floats(w, width)) * sizeof(float))
    return refused(view, Code::corrupt, "packed weights have an unknown format");
  Tensor out(DType::f32, w);
  auto* to = out.data<float>();
  const auto* from = p.data.data<float>();
  for_each_weight(w, width, [&](int64_t at, int64_t plain) { to[plain] = from[at]; });
  return out;
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant> packed,
                                        const Target& target) {
  const DepthwiseKernel& kernel = kernels::best_depthwise_kernel();
  const DepthwiseProblem p = PLANISH_TRY(depthwise_problem(view, kernel.width));
  const auto floats = static_cast<size_t>(packed_floats(view.inputs[kConvW].shape, kernel.width));
  if (packed.empty() || format_width(packed[0].format) != kernel.width ||
      packed[0].data.bytes() != floats * sizeof(float))
    return refused(view, Code::unsupported, "the packed weights are for another machine");
  const FloatEpilogue epilogue = PLANISH_TRY(float_epilogue(view));
  return std::unique_ptr<Kernel>(new DepthwiseRunner(view, kernel, p, epilogue, target.threads));
}

constexpr std::array<std::string_view, 1> kOps{"planish.FusedConv"};

}  // namespace

Result<DepthwiseProblem> depthwise_problem(const NodeView& view, int64_t width) {
  const TensorDesc& x = view.inputs[kConvX];
  const TensorDesc& y = view.outputs[0];
  const ConvShape conv = PLANISH_TRY(resolve_conv(*view.node, x.shape, view.inputs[kConvW].shape));
  DepthwiseProblem p;
  set_window(conv.window, p);
  p.channels = conv.c;
  p.whole_vectors = layout_block(y.layout) > 1;
  p.x_pixel = p.y_pixel = p.whole_vectors ? width : conv.c;
  p.x_row = p.x_pixel * p.in_w;
  p.y_row = p.y_pixel * p.out_w;
  p.x_vector = p.whole_vectors ? p.x_row * p.in_h : width;
  p.y_vector = p.whole_vectors ? p.y_row * p.out_h : width;
  p.x_image = stored_channels(x) * p.in_h * p.in_w;
  p.y_image = stored_channels(y) * p.out_h * p.out_w;
  return p;
}

constinit const Tactic kCpuDepthwise{.id = "cpu.depthwise",
                                     .ops = kOps,
                                     .supports = supports,
                                     .pack = pack,
                                     .prepare = prepare,
                                     .unpack = unpack,
                                     .version = 3};

}  // namespace planish
