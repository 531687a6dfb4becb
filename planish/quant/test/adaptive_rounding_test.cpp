#include "planish/quant/adaptive_rounding.h"

#include <gtest/gtest.h>

#include <random>

#include "planish/ir/text.h"
#include "planish/ops/op.h"

namespace planish {
namespace {

constexpr std::string_view kGraph =
    "graph \"g\" (x: f32[4,16,12,12]) -> (y) {\n"
    "  const w: f32[8,16,3,3] = seed(1)\n"
    "  y = Conv(x, w) {pads = [1, 1, 1, 1], strides = [2, 2]} @conv1\n"
    "}\n";

/// Channels that vary together, as real ones do.
Tensor correlated_input() {
  Tensor x(DType::f32, {4, 16, 12, 12});
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  for (int64_t n = 0; n < 4; ++n)
    for (int64_t p = 0; p < 144; ++p) {
      const float common = 1 + normal(random);
      for (int64_t c = 0; c < 16; ++c) x.data<float>()[(n * 16 + c) * 144 + p] = common + 0.2F * normal(random);
    }
  return x;
}

double output_error(Graph g, const Tensor& x, const QuantisedWeights& w) {
  const Tensor want = (*interpret(g, std::vector{x}))[0];
  g.value(g.nodes[0].inputs[1]).constant = dequantise(w, 0);
  const Tensor got = (*interpret(g, std::vector{x}))[0];
  double error = 0;
  for (int64_t i = 0; i < want.size(); ++i) error += (want.at(i) - got.at(i)) * (want.at(i) - got.at(i));
  return error;
}

TEST(AdaptiveRounding, ErrsLessThanRoundingToNearestAndMovesNoWeightFar) {
  const Graph g = *parse_text(kGraph);
  const QuantisedProduct product{0, g.nodes[0].inputs[0], g.nodes[0].inputs[1], 0};
  ASSERT_TRUE(InputMoments::possible(g, product));
  EXPECT_FALSE(InputMoments::possible(g, product, 100));
  const Tensor x = correlated_input();
  const QuantisedWeights nearest = quantise_weights(*g.constant_of(product.weights), 0, true);
  InputMoments moments(g, product);
  QuantisedWeights adaptive = nearest;
  round_adaptively(g, product, moments, adaptive);
  EXPECT_TRUE(bitwise_equal(adaptive.q, nearest.q)) << "without data nothing changes";
  moments.add(x.data<float>(), x.shape(), Layout::row_major, 1000);
  EXPECT_EQ(moments.rows(), 4 * 36);
  round_adaptively(g, product, moments, adaptive);
  EXPECT_LT(output_error(g, x, adaptive), 0.3 * output_error(g, x, nearest));
  for (int64_t i = 0; i < nearest.q.size(); ++i) EXPECT_LE(std::abs(adaptive.q.at(i) - nearest.q.at(i)), 4) << i;
}

TEST(AdaptiveRounding, SeesTheSameWindowsInEveryLayout) {
  const Graph g = *parse_text(kGraph);
  const QuantisedProduct product{0, g.nodes[0].inputs[0], g.nodes[0].inputs[1], 0};
  const Tensor x = correlated_input();
  std::vector<float> last(static_cast<size_t>(x.size()));
  for (int64_t n = 0; n < 4; ++n)
    for (int64_t c = 0; c < 16; ++c)
      for (int64_t p = 0; p < 144; ++p)
        last[static_cast<size_t>((n * 144 + p) * 16 + c)] = x.data<float>()[(n * 16 + c) * 144 + p];
  InputMoments a(g, product);
  InputMoments b(g, product);
  InputMoments c(g, product);
  a.add(x.data<float>(), x.shape(), Layout::row_major, 10);
  b.add(last.data(), x.shape(), Layout::channels_last, 10);
  c.add(last.data(), x.shape(), Layout::blocked16, 10);
  EXPECT_EQ(std::vector(a.moments().begin(), a.moments().end()), std::vector(b.moments().begin(), b.moments().end()));
  EXPECT_EQ(std::vector(a.moments().begin(), a.moments().end()), std::vector(c.moments().begin(), c.moments().end()));
}

}  // namespace
}  // namespace planish
