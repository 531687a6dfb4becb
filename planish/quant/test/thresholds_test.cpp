#include "planish/quant/thresholds.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace planish {
namespace {

TensorStatistics statistics_of(const std::vector<float>& x) {
  TensorStatistics s;
  s.add(x.data(), std::vector<int64_t>{static_cast<int64_t>(x.size())}, Layout::row_major);
  return s;
}

std::vector<float> normal_values(size_t n, float outlier) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x) v = normal(random);
  if (outlier != 0) x[n / 2] = outlier;
  return x;
}

double measured_mse(const std::vector<float>& x, double threshold, int steps) {
  const double step = threshold / steps;
  double error = 0;
  for (const float v : x) {
    const double q = std::clamp(std::nearbyint(v / step), -static_cast<double>(steps), static_cast<double>(steps));
    error += (v - q * step) * (v - q * step);
  }
  return error / static_cast<double>(x.size());
}

TEST(Thresholds, NamesAreFoundAgain) {
  for (const auto method : {ThresholdMethod::automatic, ThresholdMethod::entropy, ThresholdMethod::minmax,
                            ThresholdMethod::percentile, ThresholdMethod::mse})
    EXPECT_EQ(find_threshold_method(threshold_method_name(method)), method);
  EXPECT_FALSE(find_threshold_method("median"));
}

TEST(Thresholds, MinMaxKeepsEverything) {
  EXPECT_FLOAT_EQ(choose_threshold(statistics_of(normal_values(1000, -50)), ThresholdMethod::minmax, 0), 50);
}

TEST(Thresholds, OneOutlierDoesNotWidenTheOthers) {
  const auto s = statistics_of(normal_values(100000, 100));
  // The squared error weighs the clipped outlier itself, so that mse only halves its range.
  EXPECT_LT(choose_threshold(s, ThresholdMethod::mse, 0), 80);
  for (const auto method : {ThresholdMethod::entropy, ThresholdMethod::percentile}) {
    const double t = choose_threshold(s, method, 99.99);
    EXPECT_GT(t, 2.5) << threshold_method_name(method);
    EXPECT_LT(t, 12) << threshold_method_name(method);
  }
}

TEST(Thresholds, AUniformDistributionIsNotClipped) {
  std::mt19937 random(5);
  std::uniform_real_distribution<float> uniform(-2, 2);
  std::vector<float> x(200000);
  for (float& v : x) v = uniform(random);
  const auto s = statistics_of(x);
  EXPECT_NEAR(choose_threshold(s, ThresholdMethod::entropy, 0), 2, 0.05);
  EXPECT_NEAR(choose_threshold(s, ThresholdMethod::mse, 0), 2, 0.05);
}

/// KL(P || Q) by its definition for a threshold of `size` bins, independent of the one under test.
double kl_by_definition(const std::vector<uint64_t>& counts, size_t size) {
  std::vector<double> p(counts.begin(), counts.begin() + static_cast<ptrdiff_t>(size));
  std::vector<double> q(size, 0);
  for (size_t k = 0; k < 128; ++k) {
    double mass = 0;
    int filled = 0;
    for (size_t i = 0; i < size; ++i)
      if (i * 128 / size == k && counts[i] != 0) mass += static_cast<double>(counts[i]), ++filled;
    for (size_t i = 0; i < size; ++i)
      if (i * 128 / size == k && counts[i] != 0) q[i] = mass / filled;
  }
  for (size_t i = size; i < counts.size(); ++i) p[size - 1] += static_cast<double>(counts[i]);
  double sum_p = 0;
  double sum_q = 0;
  for (size_t i = 0; i < size; ++i) sum_p += p[i], sum_q += q[i];
  double kl = 0;
  for (size_t i = 0; i < size; ++i)
    if (p[i] > 0) kl += p[i] / sum_p * std::log(p[i] / sum_p / (q[i] > 0 ? q[i] / sum_q : 1e-12));
  return kl;
}

TEST(Thresholds, EntropyFindsTheSmallestDivergence) {
  std::vector<uint64_t> counts(512);
  for (size_t i = 0; i < counts.size(); ++i)
    counts[i] = static_cast<uint64_t>(1e6 * std::exp(-static_cast<double>(i) / 40)) + (i % 97 == 0 ? 3 : 0);
  size_t best = 128;
  for (size_t size = 128; size <= counts.size(); ++size)
    if (kl_by_definition(counts, size) < kl_by_definition(counts, best)) best = size;
  EXPECT_NEAR(kl_threshold(counts, 0, 0.5), (static_cast<double>(best) + 0.5) * 0.5, 1e-9);
}

TEST(Thresholds, ZerosDoNotMoveTheEntropyThreshold) {
  std::vector<uint64_t> counts(2048);
  for (size_t i = 0; i < counts.size(); ++i)
    counts[i] = static_cast<uint64_t>(1e5 * std::exp(-static_cast<double>(i) / 200));
  const double without = kl_threshold(counts, 0, 1);
  counts[0] += 100000000;
  EXPECT_EQ(kl_threshold(counts, 100000000, 1), without);
}

TEST(Thresholds, MseIsTheBestOfManyThresholds) {
  const auto x = normal_values(20000, 0);
  const auto s = statistics_of(x);
  for (const int steps : {kSymmetricSteps, kUnsignedSteps}) {
    const double chosen = choose_threshold(s, ThresholdMethod::mse, 0, steps);
    const double at_chosen = measured_mse(x, chosen, steps);
    for (double t = 0.5; t < 5; t += 0.1) EXPECT_LT(at_chosen, measured_mse(x, t, steps) * 1.02) << t;
  }
}

TEST(Thresholds, PercentileCutsTheTail) {
  std::vector<float> x(10000);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i) / 10000;
  EXPECT_NEAR(choose_threshold(statistics_of(x), ThresholdMethod::percentile, 90), 0.9, 0.002);
}

TEST(Thresholds, UnsignedIsForTensorsThatLieOnOneSide) {
  std::vector<float> x(1000);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i) / 250 - 0.5F;  // -0.5 .. 3.5, as behind HardSwish
  const auto q = choose_unsigned(statistics_of(x), ThresholdMethod::minmax, 0);
  ASSERT_TRUE(q.has_value());
  EXPECT_EQ(q->type, DType::u8);
  EXPECT_NEAR(q->scale, 4.0F / 255, 1e-3);
  EXPECT_NEAR(-static_cast<float>(q->zero) * q->scale, -0.5, q->scale);
  for (float& v : x) v = std::fabs(v);
  EXPECT_EQ(choose_unsigned(statistics_of(x), ThresholdMethod::automatic, 0)->zero, 0);
  for (float& v : x) v = -v;
  EXPECT_EQ(choose_unsigned(statistics_of(x), ThresholdMethod::automatic, 0)->zero, 255);
  for (size_t i = 0; i < x.size(); i += 2) x[i] = -x[i];
  EXPECT_FALSE(choose_unsigned(statistics_of(x), ThresholdMethod::automatic, 0)) << "INT8 is as fine";
  EXPECT_FALSE(choose_unsigned(statistics_of(std::vector<float>(9)), ThresholdMethod::automatic, 0));
}

TEST(Thresholds, ATensorOfZerosHasNoThreshold) {
  EXPECT_EQ(choose_threshold(statistics_of(std::vector<float>(100)), ThresholdMethod::automatic, 0), 0);
  EXPECT_EQ(choose_threshold(TensorStatistics{}, ThresholdMethod::entropy, 0), 0);
}

TEST(Thresholds, AConstantTensorIsNotClipped) {
  EXPECT_NEAR(choose_threshold(statistics_of(std::vector<float>(100, -3)), ThresholdMethod::automatic, 0), 3, 0.2);
}

}  // namespace
}  // namespace planish
