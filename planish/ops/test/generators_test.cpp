#include <gtest/gtest.h>

#include <cmath>

#include "planish/ops/test/tensor_values.h"

namespace planish::test {
namespace {

TEST(Random, RepeatsAndHasTheRightMoments) {
  const Node node{.op = "RandomNormal",
                  .attrs = {{"shape", std::vector<int64_t>{10000}}, {"mean", 2.0F}, {"scale", 3.0F}}};
  const auto first = values_of(run_node(node, {}));
  EXPECT_EQ(first, values_of(run_node(node, {})));
  double mean = 0;
  for (const double v : first) mean += v / 10000;
  double variance = 0;
  for (const double v : first) variance += (v - mean) * (v - mean) / 10000;
  EXPECT_NEAR(mean, 2.0, 0.15);
  EXPECT_NEAR(std::sqrt(variance), 3.0, 0.15);
  EXPECT_NE(find_op("", "RandomNormal")->traits & kTraitRandom, 0U);
}

TEST(Random, MultinomialFollowsTheProbabilities) {
  const Tensor logits = tensor(DType::f32, {1, 3}, {std::log(0.2), std::log(0.8), -1e30});
  const auto draws = values_of(run_node({.op = "Multinomial", .attrs = {{"sample_size", int64_t{5000}}}}, {logits}));
  ASSERT_EQ(draws.size(), 5000U);
  double ones = 0;
  for (const double d : draws) {
    ASSERT_TRUE(d == 0 || d == 1);
    ones += d;
  }
  EXPECT_NEAR(ones / 5000, 0.8, 0.03);
}

TEST(Window, SymmetricEndsAreEqualAndOneSampleIsThePeak) {
  const Node node{.op = "HannWindow", .attrs = {{"periodic", int64_t{0}}}};
  const auto five = values_of(run_node(node, {Tensor::scalar_i64(5)}));
  EXPECT_NEAR(five[0], five[4], 1e-7);
  EXPECT_NEAR(five[2], 1.0, 1e-7);
  EXPECT_EQ(values_of(run_node(node, {Tensor::scalar_i64(1)})), (std::vector<double>{1}));
  EXPECT_FALSE(run_node(node, {Tensor::scalar_i64(-1)}).ok());
}

TEST(Det, ExchangesRows) {
  EXPECT_EQ(values_of(run_node({.op = "Det"}, {tensor(DType::f32, {2, 2}, {0, 1, 2, 3})})), (std::vector<double>{-2}));
  EXPECT_FALSE(run_node({.op = "Det"}, {Tensor(DType::f32, {2, 3})}).ok());
}

TEST(Loss, MeanSkipsIgnoredLabels) {
  const Tensor scores = tensor(DType::f32, {3, 2}, {-1, -2, -3, -4, -5, -6});
  const Tensor labels = tensor(DType::i64, {3}, {0, 1, -7});
  const Node node{.op = "NegativeLogLikelihoodLoss", .attrs = {{"ignore_index", int64_t{-7}}}};
  EXPECT_EQ(values_of(run_node(node, {scores, labels})), (std::vector<double>{2.5}));
  EXPECT_FALSE(run_node({.op = "NegativeLogLikelihoodLoss"}, {scores, labels}).ok());
}

TEST(MelWeightMatrix, PeaksAreOneEvenForNonsenseEdges) {
  const auto out =
      run_node({.op = "MelWeightMatrix"}, {Tensor::scalar_i64(4), Tensor::scalar_i64(16), Tensor::scalar_i64(8192),
                                           Tensor::scalar_f32(0.0F), Tensor::scalar_f32(1e9F)});
  ASSERT_TRUE(out.ok());
  EXPECT_EQ(out.value()[0].shape(), (Shape{9, 4}));
  for (int64_t band = 0; band < 4; ++band) {
    double peak = 0;
    for (int64_t bin = 0; bin < 9; ++bin) peak = std::max(peak, out.value()[0].at(bin * 4 + band));
    EXPECT_EQ(peak, 1.0);
  }
}

}  // namespace
}  // namespace planish::test
