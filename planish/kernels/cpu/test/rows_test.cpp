// Every variant of the row kernels that this machine can run, against sums in double.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "planish/kernels/cpu/rows/rows.h"

namespace planish::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr int64_t kLengths[] = {1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 64, 100, 197, 768, 1023};

std::vector<float> normal(int64_t n, unsigned seed, float mean = 0, float deviation = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> d(mean, deviation);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = d(random);
  return x;
}

std::vector<double> softmax_of(std::span<const float> x) {
  double top = -INFINITY;
  for (const float v : x) top = std::max<double>(top, v);
  std::vector<double> y;
  double sum = 0;
  for (const float v : x) sum += y.emplace_back(std::exp(v - top));
  for (double& v : y) v /= sum;
  return y;
}

class RowVariants : public testing::TestWithParam<const RowKernels*> {
 protected:
  void SetUp() override {
    if (!cpu_features().has(GetParam()->isa)) GTEST_SKIP() << "this CPU lacks " << isa_name(GetParam()->isa);
  }
};

TEST_P(RowVariants, LayerNormAgrees) {
  for (const int64_t n : kLengths)
    for (const bool with_bias : {false, true}) {
      // A mean far from 0 shows whether the variance is computed by cancellation.
      const auto x = normal(n, 1, 50.0F, 2.0F);
      const auto scale = normal(n, 2);
      const auto bias = normal(n, 3);
      double mean = 0;
      for (const float v : x) mean += v;
      mean /= static_cast<double>(n);
      double variance = 0;
      for (const float v : x) variance += (v - mean) * (v - mean);
      variance /= static_cast<double>(n);
      std::vector<float> y = x;
      GetParam()->layer_norm(n, y.data(), scale.data(), with_bias ? bias.data() : nullptr, 1e-5F, y.data());
      for (size_t i = 0; i < x.size(); ++i) {
        const double exact = (x[i] - mean) / std::sqrt(variance + 1e-5) * scale[i] + (with_bias ? bias[i] : 0.0F);
        // With n == 1 mean and element may differ by a rounding, divided by sqrt(epsilon).
        ASSERT_NEAR(y[i], exact, n == 1 ? 1e-2 : 1e-4) << GetParam()->name << " n=" << n << " i=" << i;
      }
    }
}

TEST_P(RowVariants, RmsNormAgrees) {
  for (const int64_t n : kLengths) {
    const auto x = normal(n, 4);
    const auto scale = normal(n, 5);
    double square = 0;
    for (const float v : x) square += static_cast<double>(v) * v;
    square /= static_cast<double>(n);
    std::vector<float> y(x.size());
    GetParam()->rms_norm(n, x.data(), scale.data(), 1e-6F, y.data());
    for (size_t i = 0; i < x.size(); ++i)
      ASSERT_NEAR(y[i], x[i] / std::sqrt(square + 1e-6) * scale[i], 2e-5) << GetParam()->name << " n=" << n;
  }
}

TEST_P(RowVariants, SoftmaxAgrees) {
  for (const int64_t n : kLengths) {
    auto x = normal(n, 6, 0, 5.0F);
    if (n > 2) x[1] = -kInf;  // a masked element
    if (n > 7) x[5] = 80.0F;  // far above the rest: no overflow
    const auto exact = softmax_of(x);
    std::vector<float> y = x;
    GetParam()->softmax(n, y.data(), y.data());
    for (size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], exact[i], 2e-6) << GetParam()->name << " n=" << n;
  }
}

TEST_P(RowVariants, SoftmaxOfNanIsNan) {
  for (const int64_t n : {3, 16, 40}) {
    for (const int64_t at : {int64_t{0}, n / 2, n - 1}) {
      auto x = normal(n, 7);
      x[static_cast<size_t>(at)] = std::numeric_limits<float>::quiet_NaN();
      GetParam()->softmax(n, x.data(), x.data());
      for (const float v : x) ASSERT_TRUE(std::isnan(v)) << GetParam()->name << " n=" << n << " NaN at " << at;
    }
  }
}

TEST_P(RowVariants, SoftmaxDownColumnsAgrees) {
  for (const int64_t n : {1, 2, 17, 100})
    for (const int64_t columns : {int64_t{1}, int64_t{7}, int64_t{16}, int64_t{33}, kMaxColumns}) {
      const int64_t stride = columns + 3;
      const auto x = normal(n * stride, 8, 0, 4.0F);
      std::vector<float> y(x.size(), 42.0F);
      GetParam()->softmax_columns(n, columns, stride, x.data(), y.data());
      for (int64_t c = 0; c < stride; ++c) {
        std::vector<float> column;
        for (int64_t i = 0; i < n; ++i) column.push_back(x[static_cast<size_t>(i * stride + c)]);
        const auto exact = softmax_of(column);
        for (int64_t i = 0; i < n; ++i) {
          const float got = y[static_cast<size_t>(i * stride + c)];
          if (c >= columns)
            ASSERT_EQ(got, 42.0F) << "wrote outside its columns";
          else
            ASSERT_NEAR(got, exact[static_cast<size_t>(i)], 2e-6) << GetParam()->name << " columns=" << columns;
        }
      }
    }
}

TEST_P(RowVariants, SumAgrees) {
  EXPECT_EQ(GetParam()->sum(0, nullptr), 0.0F);
  for (const int64_t n : kLengths) {
    const auto x = normal(n, 9);
    double exact = 0;
    double size = 0;
    for (const float v : x) {
      exact += v;
      size += std::fabs(v);
    }
    EXPECT_NEAR(GetParam()->sum(n, x.data()), exact, 1e-6 * size) << GetParam()->name << " n=" << n;
  }
}

TEST_P(RowVariants, ExtremesAgree) {
  EXPECT_EQ(GetParam()->max(0, nullptr), -kInf);
  EXPECT_EQ(GetParam()->min(0, nullptr), kInf);
  for (const int64_t n : kLengths) {
    auto x = normal(n, 11);
    EXPECT_EQ(GetParam()->max(n, x.data()), *std::ranges::max_element(x)) << GetParam()->name << " n=" << n;
    EXPECT_EQ(GetParam()->min(n, x.data()), *std::ranges::min_element(x)) << GetParam()->name << " n=" << n;
    x[static_cast<size_t>(n / 2)] = NAN;
    EXPECT_TRUE(std::isnan(GetParam()->max(n, x.data()))) << GetParam()->name << " n=" << n;
    EXPECT_TRUE(std::isnan(GetParam()->min(n, x.data()))) << GetParam()->name << " n=" << n;
  }
}

TEST_P(RowVariants, SquaresAndAffineAgree) {
  for (const int64_t n : kLengths) {
    const auto x = normal(n, 12);
    double exact = 0;
    for (const float v : x) exact += (v - 0.25) * (v - 0.25);
    EXPECT_NEAR(GetParam()->squares(n, x.data(), 0.25F), exact, 1e-6 * exact) << GetParam()->name << " n=" << n;
    std::vector<float> y = x;
    GetParam()->affine(n, y.data(), 0.25F, 3.0F, -0.5F, y.data());
    for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(y[i], (x[i] - 0.25F) * 3.0F - 0.5F, 1e-5) << GetParam()->name;
  }
}

std::vector<const RowKernels*> rows() {
  std::vector<const RowKernels*> out;
  for (const RowKernels& k : row_kernels()) out.push_back(&k);
  return out;
}

INSTANTIATE_TEST_SUITE_P(Table, RowVariants, testing::ValuesIn(rows()),
                         [](const auto& row) { return std::string(row.param->name); });

TEST(RowTable, EndsWithARowForEveryMachine) {
  ASSERT_FALSE(row_kernels().empty());
  EXPECT_EQ(row_kernels().back().isa, Isa::baseline);
  EXPECT_TRUE(cpu_features().has(best_row_kernels().isa));
}

}  // namespace
}  // namespace planish::kernels
