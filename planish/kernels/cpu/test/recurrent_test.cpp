// Every variant of the recurrent kernels that this machine can run, against the formulas in double.

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "planish/kernels/cpu/recurrent/recurrent.h"

namespace planish::kernels {
namespace {

std::vector<float> normal(int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> d;
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = d(random);
  return x;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

class RecurrentVariants : public testing::TestWithParam<const RecurrentKernels*> {
 protected:
  void SetUp() override {
    if (!cpu_features().has(GetParam()->isa)) GTEST_SKIP() << "this CPU lacks " << isa_name(GetParam()->isa);
  }
};

TEST_P(RecurrentVariants, ProductsAgreeWithTheFormula) {
  for (const int64_t rows : {1, 2, 5, 6, 13})
    for (const int64_t panels : {1, 3, 4, 9})
      for (const bool one_start : {false, true}) {
        const int64_t depth = 11;
        const int64_t columns = panels * kRecurrentPanel;
        const auto x = normal(rows * (depth + 3), 1);
        const auto w = normal(depth * columns, 2);
        const auto from = normal(rows * columns, 3);
        std::vector<float> y(static_cast<size_t>(rows * columns));
        GetParam()->product({rows, panels, depth, x.data(), depth + 3, w.data(), from.data(), one_start ? 0 : columns,
                             y.data(), columns});
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t c = 0; c < columns; ++c) {
            double sum = static_cast<double>(from[static_cast<size_t>((one_start ? 0 : r * columns) + c)]);
            for (int64_t k = 0; k < depth; ++k) {
              const int64_t at = (c / kRecurrentPanel * depth + k) * kRecurrentPanel + c % kRecurrentPanel;
              sum += static_cast<double>(x[static_cast<size_t>(r * (depth + 3) + k)]) *
                     static_cast<double>(w[static_cast<size_t>(at)]);
            }
            ASSERT_NEAR(y[static_cast<size_t>(r * columns + c)], sum, 1e-4) << rows << " rows, " << panels << " panels";
          }
      }
}

TEST_P(RecurrentVariants, GatesAgreeWithTheFormula) {
  const int64_t n = 37;
  std::vector<std::vector<double>> in;
  std::vector<std::vector<float>> data;
  for (unsigned i = 0; i < 5; ++i) {
    data.push_back(normal(n, 10 + i));
    in.emplace_back(data.back().begin(), data.back().end());
  }
  std::vector<float> c(static_cast<size_t>(n));
  std::vector<float> lstm(c), gated(c), gru(c), tanh(c);
  const RecurrentKernels& k = *GetParam();
  k.lstm(n, data[0].data(), data[1].data(), data[2].data(), data[3].data(), data[4].data(), c.data(), lstm.data());
  k.gated(n, data[0].data(), data[1].data(), gated.data());
  k.gru(n, data[0].data(), data[1].data(), data[2].data(), gru.data());
  k.tanh(n, data[0].data(), tanh.data());
  for (size_t j = 0; j < static_cast<size_t>(n); ++j) {
    const double cell = sigmoid(in[2][j]) * in[4][j] + sigmoid(in[0][j]) * std::tanh(in[3][j]);
    EXPECT_NEAR(c[j], cell, 1e-5);
    EXPECT_NEAR(lstm[j], sigmoid(in[1][j]) * std::tanh(cell), 1e-5);
    EXPECT_NEAR(gated[j], in[1][j] * sigmoid(in[0][j]), 1e-5);
    const double z = sigmoid(in[0][j]);
    EXPECT_NEAR(gru[j], (1 - z) * std::tanh(in[1][j]) + z * in[2][j], 1e-5);
    EXPECT_NEAR(tanh[j], std::tanh(in[0][j]), 1e-5);
  }
}

std::vector<const RecurrentKernels*> all() {
  std::vector<const RecurrentKernels*> out;
  for (const RecurrentKernels& k : recurrent_kernels()) out.push_back(&k);
  return out;
}

INSTANTIATE_TEST_SUITE_P(All, RecurrentVariants, testing::ValuesIn(all()),
                         [](const auto& row) { return std::string(row.param->name); });

}  // namespace
}  // namespace planish::kernels
