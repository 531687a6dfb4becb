// Products of numbers in three parts, against sums in double.

#include "planish/kernels/cpu/split_conv/split_conv.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace planish::kernels {
namespace {

constexpr size_t kLine = 64;

std::vector<float> normal(int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> d;
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = d(random);
  return x;
}

/// Numbers of 16 bits on lines of the cache.
class Lines {
 public:
  explicit Lines(int64_t count) {
    const auto bytes = (static_cast<size_t>(count) * sizeof(uint16_t) + kLine - 1) / kLine * kLine;
    data_.reset(static_cast<uint16_t*>(std::aligned_alloc(kLine, bytes)));
    std::fill_n(data_.get(), bytes / sizeof(uint16_t), uint16_t{0});
  }
  [[nodiscard]] uint16_t* get() const { return data_.get(); }

 private:
  struct Free {
    void operator()(uint16_t* p) const { std::free(p); }
  };
  std::unique_ptr<uint16_t, Free> data_;
};

struct Case {
  const char* label;
  int64_t channels, filters, lines, line, pixels;
  std::vector<int64_t> taps;
  PointwiseOp act = PointwiseOp::identity;
  bool residual = false, residual_last = false;
};

const Case kCases[] = {
    {"one_tile", 32, 32, 1, 16, 16, {0}},
    {"one_row_of_tiles", 64, 48, 1, 13, 13, {0}, PointwiseOp::relu},
    {"many_tiles", 40, 70, 1, 98, 98, {0}, PointwiseOp::clip, true},
    {"cut_vectors", 13, 19, 1, 37, 37, {0}, PointwiseOp::swish, true, true},
    {"window", 16, 16, 5, 9, 7, {0, 1, 2, 9, 10, 11, 18, 19, 20}, PointwiseOp::relu, true},
    {"few_positions", 80, 96, 2, 3, 2, {0, 4}, PointwiseOp::hard_swish},
};

/// One case, channels-last.
struct Layer {
  explicit Layer(const Case& of)
      : c(of),
        positions((of.lines - 1) * of.line + of.pixels),
        held(positions + of.taps.back()),
        x(normal(held * of.channels, 1)),
        w(normal(of.filters * of.channels * taps(), 2)),
        bias(normal(of.filters, 3)),
        residual(normal(of.lines * of.pixels * of.filters, 4)) {}

  [[nodiscard]] int64_t taps() const { return static_cast<int64_t>(c.taps.size()); }

  [[nodiscard]] double sum(int64_t position, int64_t filter) const {
    double s = bias[static_cast<size_t>(filter)];
    for (int64_t t = 0; t < taps(); ++t)
      for (int64_t n = 0; n < c.channels; ++n)
        s += static_cast<double>(x[static_cast<size_t>((position + c.taps[static_cast<size_t>(t)]) * c.channels + n)]) *
             w[static_cast<size_t>((filter * c.channels + n) * taps() + t)];
    return s;
  }
  [[nodiscard]] double expected(int64_t line, int64_t pixel, int64_t filter) const {
    const double s = sum(line * c.line + pixel, filter);
    const double r = c.residual ? residual[place(line, pixel, filter)] : 0;
    return c.residual_last ? activated(s) + r : activated(s + r);
  }
  [[nodiscard]] double activated(double v) const {
    switch (c.act) {
      case PointwiseOp::relu: return std::max(v, 0.0);
      case PointwiseOp::clip: return std::clamp(v, -0.5, 0.75);
      case PointwiseOp::swish: return v / (1 + std::exp(-v));
      case PointwiseOp::hard_swish: return v * std::clamp(v / 6 + 0.5, 0.0, 1.0);
      default: return v;
    }
  }
  [[nodiscard]] size_t place(int64_t line, int64_t pixel, int64_t filter) const {
    return static_cast<size_t>((line * c.pixels + pixel) * c.filters + filter);
  }

  /// `most_depth`: steps that are multiplied at a time; 0: all.
  [[nodiscard]] std::vector<float> run(const SplitConvKernel& kernel, int64_t most_depth = 0) const {
    std::vector<float> y(static_cast<size_t>(c.lines * c.pixels * c.filters + 1), NAN);
    const int64_t room = held + kSplitTile;
    const Lines parts(split_size(room, c.channels));
    const SplitImage image{parts.get(), room};
    const SplitSource source{x.data(), c.channels, c.channels, c.channels, 1, 0};
    // In two pieces, the second of which begins anywhere.
    const int64_t half = held / 2;
    kernel.split(source, half, image, 0);
    SplitSource rest = source;
    rest.x += half * c.channels;
    kernel.split(rest, held - half, image, half);
    const int64_t vectors = (c.filters + kSplitVector - 1) / kSplitVector;
    std::vector<float> packed(static_cast<size_t>(split_weights_offset(vectors, c.channels, taps())));
    pack_split_weights(c.filters, c.channels, taps(), w.data(), packed.data());
    const int64_t steps = (c.channels + kSplitStep - 1) / kSplitStep;
    const int64_t depths = steps * taps();
    const int64_t at_once = most_depth > 0 ? most_depth : depths;
    const int64_t weights_size = at_once * kSplitStep * kSplitPanel * kSplitParts;
    const Lines weights(2 * weights_size);
    const Lines sums(split_sums(positions) * 2);
    uint16_t* now = weights.get();
    uint16_t* next = now + weights_size;
    const auto weights_of = [&](int64_t vector, int64_t depth, uint16_t* to) {
      SplitWeights part{.to = to, .vectors = std::min<int64_t>(2, vectors - vector)};
      part.from = packed.data() + split_weights_offset(vector, c.channels, taps()) +
                  depth * part.vectors * kSplitStep * kSplitVector;
      part.rows = std::min(at_once, depths - depth) * part.step_rows();
      return part;
    };
    kernel.split_weights(weights_of(0, 0, now));
    for (int64_t v = 0; v < vectors; v += 2) {
      SplitConvPart part;
      part.image = image;
      part.positions = positions;
      part.line = c.line;
      part.pixels = c.pixels;
      part.taps = c.taps.data();
      part.tap_count = taps();
      part.steps = steps;
      part.sums = reinterpret_cast<float*>(sums.get());
      part.filters = c.filters - v * kSplitVector;
      part.vectors = std::min<int64_t>(2, vectors - v);
      part.y = y.data() + v * kSplitVector;
      part.y_pixel = c.filters;
      part.y_row = c.pixels * c.filters;
      part.y_vector = kSplitVector;
      FloatEpilogue e{.bias = bias.data() + v * kSplitVector,
                      .residual = c.residual ? residual.data() + v * kSplitVector : nullptr};
      e.residual_last = c.residual_last;
      const bool clips = c.act == PointwiseOp::clip;
      set_activation(e, c.act, clips ? -0.5F : 1.0F, 0.75F);
      for (; part.depth < depths; part.depth = part.last_depth) {
        part.last_depth = std::min(part.depth + at_once, depths);
        part.weights = now;
        part.next = {};
        if (part.last_depth < depths)
          part.next = weights_of(v, part.last_depth, next);
        else if (v + 2 < vectors)
          part.next = weights_of(v + 2, 0, next);
        kernel.run(part, e);
        std::swap(now, next);
      }
    }
    return y;
  }

  Case c;
  int64_t positions;
  int64_t held;
  std::vector<float> x, w, bias, residual;
};

class SplitConvVariants : public testing::TestWithParam<const SplitConvKernel*> {
 protected:
  void SetUp() override {
    if (!cpu_features().has(GetParam()->isa)) GTEST_SKIP() << "this CPU lacks " << isa_name(GetParam()->isa);
  }
};

TEST_P(SplitConvVariants, AgreeWithTheConvolution) {
  for (const Case& c : kCases)
    for (const int64_t most_depth : {0, 1, 2}) {
      SCOPED_TRACE(c.label);
      const Layer layer(c);
      const auto y = layer.run(*GetParam(), most_depth);
      for (int64_t i = 0; i < c.lines; ++i)
        for (int64_t j = 0; j < c.pixels; ++j)
          for (int64_t k = 0; k < c.filters; ++k) {
            const double want = layer.expected(i, j, k);
            ASSERT_NEAR(y[layer.place(i, j, k)], want, 5e-6 * (1 + std::abs(want)))
                << "line " << i << ", pixel " << j << ", filter " << k;
          }
      ASSERT_TRUE(std::isnan(y.back())) << "wrote behind the image";
    }
}

// What justifies the word f32: the error is smaller than that of multiply-adds in f32, one after the other.
TEST_P(SplitConvVariants, AreAsExactAsMultiplyAdds) {
  for (const int64_t channels : {32, 64, 576, 2048}) {
    const Layer layer({"long_sums", channels, 32, 1, 64, 64, {0}});
    const auto y = layer.run(*GetParam());
    double split_square = 0;
    double plain_square = 0;
    for (int64_t j = 0; j < layer.c.pixels; ++j)
      for (int64_t k = 0; k < layer.c.filters; ++k) {
        const double want = layer.sum(j, k);
        float plain = layer.bias[static_cast<size_t>(k)];
        for (int64_t n = 0; n < channels; ++n)
          plain = std::fma(layer.x[static_cast<size_t>(j * channels + n)],
                           layer.w[static_cast<size_t>(k * channels + n)], plain);
        split_square += std::pow(y[layer.place(0, j, k)] - want, 2);
        plain_square += std::pow(plain - want, 2);
      }
    EXPECT_LT(split_square, plain_square) << channels << " channels";
  }
}

TEST_P(SplitConvVariants, KeepWhatIsNoNumber) {
  Layer layer({"nan", 32, 16, 1, 16, 16, {0}});
  layer.x[5 * 32 + 3] = std::numeric_limits<float>::quiet_NaN();
  layer.x[9 * 32] = std::numeric_limits<float>::infinity();
  const auto y = layer.run(*GetParam());
  for (int64_t j = 0; j < 16; ++j) EXPECT_EQ(std::isfinite(y[layer.place(0, j, 7)]), j != 5 && j != 9) << "pixel " << j;
}

TEST(SplitWeights, AreUnpacked) {
  constexpr int64_t kFilters = 37;
  constexpr int64_t kChannels = 45;
  constexpr int64_t kTaps = 3;
  auto w = normal(kFilters * kChannels * kTaps, 5);
  w[0] = 0.1F;
  w[1] = -1e-30F;
  w[2] = 16777215.0F;
  w[3] = std::numeric_limits<float>::max() / 2;
  constexpr int64_t kVectors = (kFilters + kSplitVector - 1) / kSplitVector;
  std::vector<float> packed(static_cast<size_t>(split_weights_offset(kVectors, kChannels, kTaps)));
  pack_split_weights(kFilters, kChannels, kTaps, w.data(), packed.data());
  std::vector<float> back(w.size());
  unpack_split_weights(kFilters, kChannels, kTaps, packed.data(), back.data());
  EXPECT_EQ(back, w);
}

std::vector<const SplitConvKernel*> kernels() {
  std::vector<const SplitConvKernel*> out;
  for (const SplitConvKernel& k : split_conv_kernels()) out.push_back(&k);
  return out;
}

INSTANTIATE_TEST_SUITE_P(All, SplitConvVariants, testing::ValuesIn(kernels()),
                         [](const auto& i) { return std::string(i.param->name); });

}  // namespace
}  // namespace planish::kernels
