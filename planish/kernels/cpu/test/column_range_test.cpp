#include "planish/kernels/cpu/column_range/column_range.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace planish::kernels {
namespace {

TEST(ColumnRange, EveryVariantSeesEveryColumnAndNoOther) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal(3);
  for (const ColumnRangeKernel& k : column_range_kernels()) {
    if (!cpu_features().has(k.isa)) continue;
    for (const int64_t columns : {1, 3, 8, 16, 17, 24, 31, 64, 65, 130})
      for (const int64_t rows : {1, 2, 33}) {
        const int64_t stride = columns + 2;
        std::vector<float> x(static_cast<size_t>(rows * stride));
        for (float& v : x) v = normal(random);
        const auto size = static_cast<size_t>(columns) + 1;
        std::vector<float> low(size, 77);
        std::vector<float> high(size, 77);
        std::vector<float> total(size, 77);
        k.fn(x.data(), rows, stride, columns, {low.data(), high.data(), total.data()});
        for (size_t c = 0; c < size - 1; ++c) {
          float min = INFINITY;
          float max = -INFINITY;
          double sum = 0;
          for (int64_t r = 0; r < rows; ++r) {
            const float v = x[static_cast<size_t>(r * stride) + c];
            min = std::min(min, v);
            max = std::max(max, v);
            sum += static_cast<double>(v);
          }
          ASSERT_EQ(low[c], min) << k.name << " " << columns << "x" << rows << " at " << c;
          ASSERT_EQ(high[c], max) << k.name;
          ASSERT_NEAR(total[c], sum, 1e-4) << k.name;
        }
        for (const auto& out : {low, high, total}) ASSERT_EQ(out.back(), 77) << k.name << " wrote behind the end";
      }
  }
}

TEST(ColumnRange, PartsTogetherGiveTheNumbersOfEachAlone) {
  std::mt19937 random(6);
  std::normal_distribution<float> normal(3);
  const std::array<int64_t, kRangeParts> rows{7, 9, 1, 8};
  for (const ColumnRangeKernel& k : column_range_kernels()) {
    if (!cpu_features().has(k.isa)) continue;
    for (const int64_t columns : {1, 8, 13, 16, 24, 31}) {
      const int64_t stride = columns + 1;
      std::vector<float> x(static_cast<size_t>(kRangeParts * 9 * stride));
      for (float& v : x) v = normal(random);
      std::array<const float*, kRangeParts> from{};
      for (size_t p = 0; p < from.size(); ++p) from[p] = x.data() + static_cast<int64_t>(p) * 9 * stride;
      const auto size = static_cast<size_t>(kRangeParts * columns);
      std::array<std::vector<float>, 3> together;
      std::array<std::vector<float>, 3> alone;
      for (size_t i = 0; i < 3; ++i) {
        together[i].assign(size + 1, 77);
        alone[i].assign(size + 1, 77);
      }
      k.parts(from.data(), rows.data(), stride, columns, {together[0].data(), together[1].data(), together[2].data()});
      for (size_t p = 0; p < from.size(); ++p) {
        const int64_t at = static_cast<int64_t>(p) * columns;
        k.fn(from[p], rows[p], stride, columns, {alone[0].data() + at, alone[1].data() + at, alone[2].data() + at});
      }
      EXPECT_EQ(together, alone) << k.name << " " << columns;
    }
  }
}

TEST(ColumnRange, ASumTellsOfWhatIsNotFinite) {
  for (const ColumnRangeKernel& k : column_range_kernels()) {
    if (!cpu_features().has(k.isa)) continue;
    for (const float wrong : {NAN, INFINITY, -INFINITY}) {
      std::vector<float> x(40, 1.0F);
      x[13] = wrong;
      std::vector<float> low(20);
      std::vector<float> high(20);
      std::vector<float> total(20);
      k.fn(x.data(), 2, 20, 20, {low.data(), high.data(), total.data()});
      for (size_t c = 0; c < total.size(); ++c) EXPECT_EQ(std::isfinite(total[c]), c != 13) << k.name << " " << c;
    }
  }
}

}  // namespace
}  // namespace planish::kernels
