// Every variant of our float convolutions that this machine can run, against the convolution in double.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "planish/kernels/cpu/depthwise/depthwise.h"
#include "planish/kernels/cpu/panel_conv/panel_conv.h"
#include "planish/kernels/cpu/stem_conv/stem_conv.h"

namespace planish::kernels {
namespace {

struct Case {
  const char* label;
  int64_t channels, filters, in_h, in_w, kernel, stride, pad;
  PointwiseOp act = PointwiseOp::identity;
  bool residual = false, residual_last = false;
};

constexpr Case kDense[] = {
    {"one_tap", 32, 48, 5, 7, 1, 1, 0, PointwiseOp::relu},
    {"cut_vector", 13, 19, 6, 6, 1, 1, 0, PointwiseOp::swish},
    {"half_vector", 16, 24, 5, 13, 1, 1, 0, PointwiseOp::clip, true},
    {"window_and_half", 8, 40, 6, 15, 3, 1, 1, PointwiseOp::relu},
    {"window", 16, 80, 9, 31, 3, 1, 1, PointwiseOp::hard_swish},
    {"strided", 24, 64, 11, 13, 3, 2, 1, PointwiseOp::sigmoid},
    {"residual", 16, 33, 8, 8, 3, 1, 1, PointwiseOp::relu, true},
    {"residual_last", 16, 64, 4, 30, 1, 1, 0, PointwiseOp::swish, true, true},
    {"all_border", 8, 16, 3, 2, 5, 1, 3, PointwiseOp::clip},
};

constexpr Case kDepthwise[] = {
    {"window", 32, 32, 9, 40, 3, 1, 1, PointwiseOp::clip},
    {"cut_vector", 20, 20, 7, 7, 3, 1, 1, PointwiseOp::swish},
    {"strided", 16, 16, 14, 14, 5, 2, 2, PointwiseOp::hard_swish},
    {"five", 16, 16, 7, 7, 5, 1, 2, PointwiseOp::identity, true},
    {"narrow", 16, 16, 6, 3, 3, 1, 1, PointwiseOp::swish, true, true},
    {"wide_padding", 16, 16, 5, 5, 7, 1, 5, PointwiseOp::relu},
};

std::vector<float> normal(int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> d;
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = d(random);
  return x;
}

double activated(PointwiseOp op, double v) {
  switch (op) {
    case PointwiseOp::relu: return std::max(v, 0.0);
    case PointwiseOp::clip: return std::clamp(v, -0.5, 0.75);
    case PointwiseOp::swish: return v / (1 + std::exp(-v));
    case PointwiseOp::sigmoid: return 1 / (1 + std::exp(-v));
    case PointwiseOp::hard_swish: return v * std::clamp(v / 6 + 0.5, 0.0, 1.0);
    default: return v;
  }
}

/// One channels-last image through one case.
class Layer {
 public:
  Layer(const Case& c, bool depthwise)
      : c_(c),
        depth_(depthwise ? 1 : c.channels),
        out_h_((c.in_h + 2 * c.pad - c.kernel) / c.stride + 1),
        out_w_((c.in_w + 2 * c.pad - c.kernel) / c.stride + 1),
        x(normal(c.in_h * c.in_w * c.channels + kSlack, 1)),
        w(normal(c.filters * depth_ * c.kernel * c.kernel, 2)),
        bias(normal(c.filters + kSlack, 3)),
        residual(normal(out_h_ * out_w_ * c.filters, 4)) {}

  [[nodiscard]] double expected(int64_t i, int64_t j, int64_t k) const {
    double sum = bias[static_cast<size_t>(k)];
    for (int64_t r = 0; r < c_.kernel; ++r)
      for (int64_t s = 0; s < c_.kernel; ++s) {
        const int64_t y = i * c_.stride + r - c_.pad;
        const int64_t at = j * c_.stride + s - c_.pad;
        if (y < 0 || y >= c_.in_h || at < 0 || at >= c_.in_w) continue;
        for (int64_t n = 0; n < depth_; ++n) {
          const int64_t channel = depth_ == 1 ? k : n;
          sum += static_cast<double>(x[static_cast<size_t>((y * c_.in_w + at) * c_.channels + channel)]) *
                 w[static_cast<size_t>(((k * depth_ + n) * c_.kernel + r) * c_.kernel + s)];
        }
      }
    const double r = c_.residual ? residual[static_cast<size_t>(place(i, j, k))] : 0;
    return c_.residual_last ? activated(c_.act, sum) + r : activated(c_.act, sum + r);
  }

  [[nodiscard]] FloatEpilogue epilogue() const {
    FloatEpilogue e{.bias = bias.data(), .residual = c_.residual ? residual.data() : nullptr};
    e.residual_last = c_.residual_last;
    const bool clips = c_.act == PointwiseOp::clip;
    set_activation(e, c_.act, clips ? -0.5F : 1.0F, 0.75F);
    return e;
  }

  void compare(const std::vector<float>& y) const {
    for (int64_t i = 0; i < out_h_; ++i)
      for (int64_t j = 0; j < out_w_; ++j)
        for (int64_t k = 0; k < c_.filters; ++k) {
          const double want = expected(i, j, k);
          ASSERT_NEAR(y[static_cast<size_t>(place(i, j, k))], want, 2e-5 * (1 + std::abs(want)))
              << "line " << i << ", pixel " << j << ", filter " << k;
        }
    ASSERT_TRUE(std::isnan(y.back())) << "wrote behind the image";
  }

  [[nodiscard]] std::vector<float> empty() const {
    return std::vector<float>(static_cast<size_t>(out_h_ * out_w_ * c_.filters + 1), NAN);
  }
  template <typename Problem>
  void fill(Problem& p) const {
    p.in_h = c_.in_h;
    p.in_w = c_.in_w;
    p.out_h = out_h_;
    p.out_w = out_w_;
    p.kernel_h = p.kernel_w = c_.kernel;
    p.stride_h = p.stride_w = c_.stride;
    p.pad_top = p.pad_left = c_.pad;
    p.x_pixel = c_.channels;
    p.x_row = c_.channels * c_.in_w;
    p.y_pixel = c_.filters;
    p.y_row = c_.filters * out_w_;
  }
  /// Weights of `wide` filters from number `first` on, [tap][channel][filter], zero behind the last one.
  [[nodiscard]] std::vector<float> panel(int64_t first, int64_t wide) const {
    const int64_t taps = c_.kernel * c_.kernel;
    std::vector<float> weights(static_cast<size_t>(taps * c_.channels * wide), 0.0F);
    for (int64_t t = 0; t < taps; ++t)
      for (int64_t n = 0; n < c_.channels; ++n)
        for (int64_t k = 0; k < wide && first + k < c_.filters; ++k)
          weights[static_cast<size_t>((t * c_.channels + n) * wide + k)] =
              w[static_cast<size_t>(((first + k) * c_.channels + n) * taps + t)];
    return weights;
  }

 private:
  static constexpr int64_t kSlack = 64;  ///< whole vectors may be read behind the last pixel
  [[nodiscard]] int64_t place(int64_t i, int64_t j, int64_t k) const { return (i * out_w_ + j) * c_.filters + k; }

  Case c_;
  int64_t depth_;
  int64_t out_h_;
  int64_t out_w_;

 public:
  std::vector<float> x;
  std::vector<float> w;
  std::vector<float> bias;
  std::vector<float> residual;
  [[nodiscard]] int64_t pixels() const { return out_h_ * out_w_; }
  [[nodiscard]] int64_t lines() const { return out_h_; }
};

class PanelConvVariants : public testing::TestWithParam<const PanelConvKernel*> {};

TEST_P(PanelConvVariants, AgreeWithTheConvolution) {
  const PanelConvKernel& kernel = *GetParam();
  if (!cpu_features().has(kernel.isa)) GTEST_SKIP() << "this CPU lacks " << isa_name(kernel.isa);
  for (const Case& c : kDense)
    for (const int64_t most : {kernel.vectors, kernel.window_vectors}) {
      SCOPED_TRACE(c.label);
      const Layer layer(c, false);
      PanelConvProblem p;
      layer.fill(p);
      p.chunk = p.last_chunk = c.channels;
      p.filters = c.filters;
      p.y_vector = kernel.width;
      const Panels panels(c.filters, kernel.width, most);
      auto y = layer.empty();
      for (int64_t i = 0; i < panels.count; ++i) {
        const int64_t vectors = panels.begin(i + 1) - panels.begin(i);
        const int64_t wide = vectors * kernel.width;
        const auto weights = layer.panel(panels.begin(i) * kernel.width, wide);
        // Two portions that end within a line: the first fetches weights for the second, which takes one row of taps
        // after the other.
        const int64_t half = layer.pixels() / 2;
        kernel.run(p, {0, half, panels.begin(i), vectors, weights.data(), static_cast<int64_t>(weights.size())},
                   layer.x.data(), weights.data(), layer.epilogue(), y.data());
        PanelConvPart part{half, layer.pixels() - half, panels.begin(i), vectors};
        for (; part.tap_row < p.kernel_h; ++part.tap_row) {
          part.last_tap_row = part.tap_row + 1;
          kernel.run(p, part, layer.x.data(), weights.data(), layer.epilogue(), y.data());
        }
      }
      layer.compare(y);
    }
}

class DepthwiseFloatVariants : public testing::TestWithParam<const DepthwiseKernel*> {};

TEST_P(DepthwiseFloatVariants, AgreeWithTheConvolution) {
  const DepthwiseKernel& kernel = *GetParam();
  if (!cpu_features().has(kernel.isa)) GTEST_SKIP() << "this CPU lacks " << isa_name(kernel.isa);
  for (const Case& c : kDepthwise) {
    SCOPED_TRACE(c.label);
    const Layer layer(c, true);
    DepthwiseProblem p;
    layer.fill(p);
    p.channels = c.channels;
    p.x_vector = p.y_vector = kernel.width;
    const int64_t taps = c.kernel * c.kernel;
    const int64_t vectors = (c.channels + kernel.width - 1) / kernel.width;
    std::vector<float> weights(static_cast<size_t>(vectors * taps * kernel.width), 0.0F);
    for (int64_t k = 0; k < c.channels; ++k)
      for (int64_t t = 0; t < taps; ++t)
        weights[static_cast<size_t>((k / kernel.width * taps + t) * kernel.width + k % kernel.width)] =
            layer.w[static_cast<size_t>(k * taps + t)];
    auto y = layer.empty();
    for (int64_t v = 0; v < vectors; ++v)
      kernel.run(p, {0, v, 0, layer.lines()}, layer.x.data(), weights.data(), layer.epilogue(), y.data());
    layer.compare(y);
  }
}

constexpr Case kStems[] = {
    {"window", 3, 48, 9, 75, 3, 2, 0, PointwiseOp::relu},
    {"cut_vector", 3, 19, 9, 33, 3, 2, 0, PointwiseOp::hard_swish},
    {"one_line_of_one_pixel", 2, 16, 3, 3, 3, 1, 0, PointwiseOp::swish},
    {"large_window", 2, 64, 11, 40, 7, 1, 0, PointwiseOp::clip},
};

class StemConvVariants : public testing::TestWithParam<const StemConvKernel*> {};

TEST_P(StemConvVariants, AgreeWithTheConvolution) {
  const StemConvKernel& kernel = *GetParam();
  if (!cpu_features().has(kernel.isa)) GTEST_SKIP() << "this CPU lacks " << isa_name(kernel.isa);
  for (const Case& c : kStems)
    for (int64_t most = 1; most <= kernel.vectors; ++most) {
      SCOPED_TRACE(c.label);
      const Layer layer(c, false);
      const int64_t taps = c.kernel * c.kernel;
      std::vector<int32_t> offsets;
      for (int64_t t = 0; t < taps; ++t)
        for (int64_t n = 0; n < c.channels; ++n)
          offsets.push_back(static_cast<int32_t>((n * c.in_h + t / c.kernel) * c.in_w + t % c.kernel));
      // The image of the other kernels, in planes.
      std::vector<float> x(static_cast<size_t>(c.channels * c.in_h * c.in_w));
      for (int64_t n = 0; n < c.channels; ++n)
        for (int64_t at = 0; at < c.in_h * c.in_w; ++at)
          x[static_cast<size_t>(n * c.in_h * c.in_w + at)] = layer.x[static_cast<size_t>(at * c.channels + n)];
      StemConvProblem p;
      p.offsets = offsets.data();
      p.numbers = taps * c.channels;
      p.stride_w = c.stride;
      p.out_w = (c.in_w - c.kernel) / c.stride + 1;
      p.filters = c.filters;
      p.y_pixel = c.filters;
      p.y_vector = kernel.width;
      const Panels panels(c.filters, kernel.width, most);
      auto y = layer.empty();
      for (int64_t i = 0; i < panels.count; ++i) {
        const int64_t vectors = panels.begin(i + 1) - panels.begin(i);
        const int64_t wide = vectors * kernel.width;
        const int64_t first = panels.begin(i) * kernel.width;
        const auto weights = layer.panel(first, wide);
        for (int64_t row = 0; row < layer.lines(); ++row)
          kernel.run(p, {panels.begin(i), vectors}, x.data() + row * c.stride * c.in_w, weights.data(),
                     layer.epilogue(), y.data() + row * p.out_w * c.filters + first);
      }
      layer.compare(y);
    }
}

template <typename Kernel>
std::vector<const Kernel*> pointers(std::span<const Kernel> kernels) {
  std::vector<const Kernel*> out;
  for (const Kernel& k : kernels) out.push_back(&k);
  return out;
}

INSTANTIATE_TEST_SUITE_P(All, PanelConvVariants, testing::ValuesIn(pointers(panel_conv_kernels())),
                         [](const auto& i) { return std::string(i.param->name); });
INSTANTIATE_TEST_SUITE_P(All, StemConvVariants, testing::ValuesIn(pointers(stem_conv_kernels())),
                         [](const auto& i) { return std::string(i.param->name); });
INSTANTIATE_TEST_SUITE_P(All, DepthwiseFloatVariants, testing::ValuesIn(pointers(depthwise_kernels())),
                         [](const auto& i) { return std::string(i.param->name); });

}  // namespace
}  // namespace planish::kernels
