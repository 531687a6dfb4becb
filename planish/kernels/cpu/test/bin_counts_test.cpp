#include "planish/kernels/cpu/bin_counts/bin_counts.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace planish::kernels {
namespace {

TEST(BinCounts, EveryVariantCountsEveryValueOfTheRunsInItsBin) {
  std::mt19937 random(6);
  std::normal_distribution<float> normal(0, 3);
  constexpr int64_t kRuns = 9;
  constexpr int64_t kStep = 21;
  constexpr float kPerWidth = 256;
  std::vector<float> x(kRuns * kStep);
  for (size_t i = 0; i < x.size(); ++i) x[i] = i % 3 == 0 ? 0.0F : normal(random);
  x[1] = -0.0F;
  x[2] = 1e30F;
  x[4] = -1e30F;
  std::vector<uint64_t> expected(kBins);
  uint64_t values = 0;
  for (int64_t r = 0; r < kRuns; ++r)
    for (int64_t i = 0; i < kBinRun; ++i) {
      const float v = x[static_cast<size_t>(r * kStep + i)];
      if (v == 0) continue;
      ++expected[static_cast<size_t>(std::min(std::fabs(v) * kPerWidth, static_cast<float>(kBins - 1)))];
      ++values;
    }
  std::vector<std::vector<uint16_t>> all;
  for (const BinCountsKernel& k : bin_counts_kernels()) {
    if (!cpu_features().has(k.isa)) continue;
    std::vector<uint16_t>& counts = all.emplace_back(kBinCopies * kBinStride);
    k.count(x.data(), kRuns, kStep, kPerWidth, counts.data());
    std::vector<uint64_t> sums(kBins, 7);
    EXPECT_EQ(k.add(counts.data(), 5, sums.data()), values) << k.name;
    for (size_t i = 0; i < kBins; ++i) ASSERT_EQ(sums[i], 7 + 5 * expected[i]) << k.name << " bin " << i;
    uint64_t zeros = 0;
    for (size_t copy = 0; copy < kBinCopies; ++copy)
      for (size_t i = kBins; i < kBinStride; ++i) zeros += counts[copy * kBinStride + i];
    EXPECT_EQ(zeros, static_cast<uint64_t>(kRuns * kBinRun) - values) << k.name;
    EXPECT_EQ(counts, all.front()) << k.name << " uses other counters than " << bin_counts_kernels()[0].name;
  }
}

TEST(BinCounts, SumsOfFullCountersDoNotOverflow) {
  for (const BinCountsKernel& k : bin_counts_kernels()) {
    if (!cpu_features().has(k.isa)) continue;
    std::vector<uint16_t> counts(kBinCopies * kBinStride);
    for (size_t copy = 0; copy < kBinCopies; ++copy) counts[copy * kBinStride + 11] = 0xffff;
    std::vector<uint64_t> sums(kBins);
    EXPECT_EQ(k.add(counts.data(), 0xfffffff0U, sums.data()), uint64_t{0xffff} * kBinCopies) << k.name;
    EXPECT_EQ(sums[11], uint64_t{0xffff} * kBinCopies * 0xfffffff0U) << k.name;
  }
}

}  // namespace
}  // namespace planish::kernels
