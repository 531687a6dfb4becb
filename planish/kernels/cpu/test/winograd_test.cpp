// Every variant of minimal filtering that this machine can run, against the convolution in double.

#include "planish/kernels/cpu/winograd/winograd.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

namespace planish::kernels {
namespace {

struct Case {
  const char* label;
  int64_t images, channels, filters, in_h, in_w, pad;
  bool residual = false;
  bool residual_last = false;
  bool relu = false;
};

constexpr Case kCases[] = {
    {"same", 1, 16, 32, 12, 12, 1},
    {"valid", 1, 32, 16, 11, 9, 0},
    {"ragged", 2, 16, 48, 7, 13, 1},
    {"residual", 1, 16, 80, 8, 8, 1, true, false, true},
    {"residual_last", 3, 48, 16, 5, 6, 1, true, true, true},
    {"wide_padding", 1, 16, 16, 4, 5, 2, false, false, true},
    {"many_tiles", 1, 16, 16, 40, 33, 1, false, false, true},
};

std::vector<float> normal(int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> d;
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = d(random);
  return x;
}

float relu_of(float v) { return v < 0 ? 0 : v; }

/// Channels-last convolution with the epilogue, in double.
std::vector<float> expected(const Case& c, int64_t out_h, int64_t out_w, const std::vector<float>& x,
                            const std::vector<float>& w, const std::vector<float>& bias,
                            const std::vector<float>& residual) {
  std::vector<float> y(static_cast<size_t>(c.images * out_h * out_w * c.filters));
  for (int64_t n = 0; n < c.images; ++n)
    for (int64_t i = 0; i < out_h; ++i)
      for (int64_t j = 0; j < out_w; ++j)
        for (int64_t k = 0; k < c.filters; ++k) {
          double sum = bias[static_cast<size_t>(k)];
          for (int64_t r = 0; r < 3; ++r)
            for (int64_t s = 0; s < 3; ++s) {
              const int64_t yy = i + r - c.pad;
              const int64_t xx = j + s - c.pad;
              if (yy < 0 || yy >= c.in_h || xx < 0 || xx >= c.in_w) continue;
              for (int64_t ch = 0; ch < c.channels; ++ch)
                sum +=
                    static_cast<double>(x[static_cast<size_t>(((n * c.in_h + yy) * c.in_w + xx) * c.channels + ch)]) *
                    w[static_cast<size_t>(((k * c.channels + ch) * 3 + r) * 3 + s)];
            }
          const auto at = static_cast<size_t>(((n * out_h + i) * out_w + j) * c.filters + k);
          auto v = static_cast<float>(sum);
          if (c.residual && !c.residual_last) v += residual[at];
          if (c.relu) v = relu_of(v);
          if (c.residual && c.residual_last) v += residual[at];
          y[at] = v;
        }
  return y;
}

std::vector<int64_t> contiguous_vectors(int64_t channels, int64_t width) {
  std::vector<int64_t> at;
  for (int64_t c = 0; c < channels; c += width) at.push_back(c);
  return at;
}

class WinogradVariants : public testing::TestWithParam<const WinogradKernel*> {
 protected:
  void SetUp() override {
    if (!cpu_features().has(GetParam()->isa)) GTEST_SKIP() << "this CPU lacks " << isa_name(GetParam()->isa);
  }
};

TEST_P(WinogradVariants, AgreeWithTheConvolution) {
  const WinogradKernel& kernel = *GetParam();
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.label);
    const int64_t out_h = c.in_h + 2 * c.pad - 2;
    const int64_t out_w = c.in_w + 2 * c.pad - 2;
    const auto x = normal(c.images * c.in_h * c.in_w * c.channels, 1);
    const auto w = normal(c.filters * c.channels * 9, 2);
    const auto bias = normal(c.filters, 3);
    const auto residual = normal(c.images * out_h * out_w * c.filters, 4);
    WinogradProblem p{.channels = c.channels,
                      .filters = c.filters,
                      .in_h = c.in_h,
                      .in_w = c.in_w,
                      .out_h = out_h,
                      .out_w = out_w,
                      .pad_top = c.pad,
                      .pad_left = c.pad,
                      .tiles_h = (out_h + kernel.tile - 1) / kernel.tile,
                      .tiles_w = (out_w + kernel.tile - 1) / kernel.tile};
    std::vector<float> u(static_cast<size_t>(winograd_weights_size(kernel, c.filters, c.channels)));
    pack_winograd_weights(kernel, c.filters, c.channels, w.data(), u.data());
    const auto in_vectors = contiguous_vectors(c.channels, kernel.width);
    const auto out_vectors = contiguous_vectors(c.filters, kernel.width);
    const WinogradImages in{c.in_h * c.in_w * c.channels, c.in_w * c.channels, c.channels, in_vectors.data()};
    const WinogradImages out{out_h * out_w * c.filters, out_w * c.filters, c.filters, out_vectors.data()};
    FloatEpilogue epilogue{
        .bias = bias.data(), .residual = c.residual ? residual.data() : nullptr, .residual_last = c.residual_last};
    if (c.relu) set_activation(epilogue, PointwiseOp::relu, 0, 0);
    std::vector<float> y(static_cast<size_t>(c.images * out_h * out_w * c.filters), NAN);
    // Two portions of unequal size, as threads take them.
    const int64_t tiles = c.images * p.tiles_h * p.tiles_w;
    const int64_t cut = tiles / 3;
    for (const auto& [first, count] : {std::pair{int64_t{0}, cut}, std::pair{cut, tiles - cut}}) {
      if (count == 0) continue;
      std::vector<float> v(static_cast<size_t>(kernel.points * count * c.channels));
      std::vector<float> m(static_cast<size_t>(kernel.points * count * kernel.block));
      kernel.transform_input(p, in, x.data(), first, count, v.data(), count);
      for (int64_t f = 0; f < c.filters; f += kernel.block) {
        const int64_t filters = std::min(kernel.block, c.filters - f);
        kernel.multiply(p, u.data() + f * kernel.points * c.channels, v.data(), count, filters, m.data());
        kernel.transform_output(p, out, m.data(), first, count, f, filters, epilogue, y.data());
      }
    }
    const auto want = expected(c, out_h, out_w, x, w, bias, residual);
    double error = 0;
    double norm = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      error += std::pow(static_cast<double>(y[i]) - want[i], 2);
      norm += std::pow(static_cast<double>(want[i]), 2);
    }
    EXPECT_LT(std::sqrt(error / norm), 1e-5) << kernel.name;
  }
}

TEST_P(WinogradVariants, WeightsComeBack) {
  const WinogradKernel& kernel = *GetParam();
  const int64_t filters = 37;
  const int64_t channels = 19;
  const auto w = normal(filters * channels * 9, 5);
  std::vector<float> u(static_cast<size_t>(winograd_weights_size(kernel, filters, channels)));
  pack_winograd_weights(kernel, filters, channels, w.data(), u.data());
  std::vector<float> back(w.size());
  unpack_winograd_weights(kernel, filters, channels, u.data(), back.data());
  for (size_t i = 0; i < w.size(); ++i) ASSERT_NEAR(back[i], w[i], 1e-5) << i;
}

std::vector<const WinogradKernel*> rows() {
  std::vector<const WinogradKernel*> out;
  for (const WinogradKernel& k : winograd_kernels()) out.push_back(&k);
  return out;
}

INSTANTIATE_TEST_SUITE_P(Winograd, WinogradVariants, testing::ValuesIn(rows()),
                         [](const auto& row) { return std::string(row.param->name); });

}  // namespace
}  // namespace planish::kernels
