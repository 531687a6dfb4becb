// Every variant of the weighted sums that this machine can run, against sums in double.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "planish/kernels/cpu/taps/taps.h"

namespace planish::kernels {
namespace {

class TapsVariants : public testing::TestWithParam<const TapsKernel*> {
 protected:
  void SetUp() override {
    if (!cpu_features().has(GetParam()->isa)) GTEST_SKIP() << "this CPU lacks " << isa_name(GetParam()->isa);
  }
};

TEST_P(TapsVariants, AgreeAndLeaveTheRestAlone) {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> value(-2.0F, 2.0F);
  std::uniform_int_distribution<int32_t> place(-5, 99);
  std::vector<float> x(100);
  for (float& v : x) v = value(random);
  x[0] = std::numeric_limits<float>::infinity();  // what a negative index would read if it read anything
  for (const int64_t n : {1, 3, 8, 13, 16, 17, 40, 64})
    for (const int64_t taps : {0, 1, 4, 9})
      for (const bool accumulate : {false, true}) {
        const int64_t stride = n + 2;
        std::vector<int32_t> index(static_cast<size_t>(taps * stride));
        std::vector<float> weight(index.size());
        for (int32_t& i : index) i = place(random) == 0 ? 1 : std::max(place(random), -1);
        for (int32_t& i : index) i = i == 0 ? 1 : i;
        for (float& w : weight) w = value(random);
        std::vector<float> y(static_cast<size_t>(n) + 4, 0.5F);
        GetParam()->fn(n, taps, stride, index.data(), weight.data(), x.data(), accumulate, y.data());
        for (int64_t i = 0; i < n; ++i) {
          double sum = accumulate ? 0.5 : 0;
          for (int64_t t = 0; t < taps; ++t) {
            const auto at = static_cast<size_t>(t * stride + i);
            if (index[at] >= 0) sum += static_cast<double>(weight[at]) * x[static_cast<size_t>(index[at])];
          }
          ASSERT_NEAR(y[static_cast<size_t>(i)], sum, 1e-5) << GetParam()->name << " n=" << n << " taps=" << taps;
        }
        for (size_t i = static_cast<size_t>(n); i < y.size(); ++i) ASSERT_EQ(y[i], 0.5F) << "wrote behind the end";
      }
}

std::vector<const TapsKernel*> rows() {
  std::vector<const TapsKernel*> out;
  for (const TapsKernel& k : taps_kernels()) out.push_back(&k);
  return out;
}

INSTANTIATE_TEST_SUITE_P(Table, TapsVariants, testing::ValuesIn(rows()),
                         [](const auto& row) { return std::string(row.param->name); });

}  // namespace
}  // namespace planish::kernels
