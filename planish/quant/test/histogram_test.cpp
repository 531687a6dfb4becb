#include "planish/quant/histogram.h"

#include "planish/quant/bin_counts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

namespace planish {
namespace {

uint64_t sum(std::span<const uint64_t> counts) { return std::accumulate(counts.begin(), counts.end(), uint64_t{0}); }

TEST(AbsHistogram, KeepsEveryValueWhenTheRangeDoubles) {
  AbsHistogram h;
  h.add(std::vector<float>{0.5F, -1.0F, 0.0F});
  const double width = h.bin_width();
  EXPECT_EQ(h.zeros(), 1U);
  h.add(std::vector<float>{-7.0F});
  EXPECT_DOUBLE_EQ(h.bin_width(), width * 4);  // up to 2 became up to 8
  EXPECT_EQ(sum(h.counts()), 4U);
  const auto bin = [&h](double x) { return h.counts()[static_cast<size_t>(x / h.bin_width())]; };
  EXPECT_EQ(bin(0.5), 1U);
  EXPECT_EQ(bin(1.0), 1U);
  EXPECT_EQ(bin(7.0), 1U);
  EXPECT_EQ(h.counts().size(), AbsHistogram::kBins);
}

TEST(BinCounts, AsManyValuesAsItMayCountFitWhenTheyComeOneByOne) {
  BinCounts counts(1.0F);
  const float v = 3.5F;
  for (int64_t i = 0; i < BinCounts::kMost; ++i) counts.add(&v, 1);
  std::vector<uint64_t> bins(BinCounts::kBins);
  EXPECT_EQ(counts.add_to(bins, 1), static_cast<uint64_t>(BinCounts::kMost));
  EXPECT_EQ(bins[3], static_cast<uint64_t>(BinCounts::kMost));
}

TEST(AbsHistogram, IsTheSameInWhateverPiecesTheDataComes) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> x(5000);
  for (float& v : x) v = normal(random);
  x[0] = 20;  // the range is known from the first piece on
  AbsHistogram whole;
  whole.add(x);
  AbsHistogram pieces;
  for (size_t i = 0; i < x.size(); i += 700) pieces.add({x.data() + i, std::min<size_t>(700, x.size() - i)});
  EXPECT_EQ(std::vector(whole.counts().begin(), whole.counts().end()),
            std::vector(pieces.counts().begin(), pieces.counts().end()));
}

TEST(TensorStatistics, CountsNanAndInfinityApart) {
  TensorStatistics s;
  const std::vector<float> x{1, NAN, -3, INFINITY, 2, -INFINITY};
  s.add(x.data(), std::vector<int64_t>{1, 2, 1, 3}, Layout::row_major);
  EXPECT_EQ(s.nans, 1U);
  EXPECT_EQ(s.infinities, 2U);
  EXPECT_EQ(s.count, 6U);
  EXPECT_FALSE(s.finite());
  EXPECT_FLOAT_EQ(s.min, -3);
  EXPECT_FLOAT_EQ(s.max, 2);
  EXPECT_EQ(s.histogram.total(), 3U);
  EXPECT_EQ(s.channel_means(), (std::vector<float>{-1, 2}));
}

/// The same image in every layout, padding channels filled with values that must not count.
TEST(TensorStatistics, PaddingOfBlockedLayoutsDoesNotCount) {
  for (const std::vector<int64_t>& dims : {std::vector<int64_t>{2, 3, 2, 2}, std::vector<int64_t>{2, 3, 4}}) {
    const auto value = [](int64_t n, int64_t c, int64_t p) { return static_cast<float>(n * 100 + c * 10 + p) - 50; };
    TensorStatistics expected;
    std::vector<float> plain;
    for (int64_t n = 0; n < 2; ++n)
      for (int64_t c = 0; c < 3; ++c)
        for (int64_t p = 0; p < 4; ++p) plain.push_back(value(n, c, p));
    expected.add(plain.data(), std::vector<int64_t>{2, 3, 2, 2}, Layout::row_major);
    for (const Layout layout : {Layout::channels_last, Layout::blocked8, Layout::blocked16}) {
      const int64_t block = layout == Layout::channels_last ? 3 : layout_block(layout);
      std::vector<float> x;
      for (int64_t n = 0; n < 2; ++n)
        for (int64_t p = 0; p < 4; ++p)
          for (int64_t c = 0; c < block; ++c) x.push_back(c < 3 ? value(n, c, p) : 1e9F);
      TensorStatistics s;
      s.add(x.data(), dims, layout);
      EXPECT_EQ(s.count, expected.count);
      EXPECT_EQ(s.min, expected.min);
      EXPECT_EQ(s.max, expected.max);
      EXPECT_EQ(s.channel_means(), expected.channel_means());
      EXPECT_EQ(s.channel_amax, expected.channel_amax);
      EXPECT_EQ(s.histogram.total(), expected.histogram.total());
      EXPECT_EQ(s.histogram.bin_width(), expected.histogram.bin_width());
    }
  }
}

TEST(TensorStatistics, LargeTensorsAreSampledButTheirRangeIsExact) {
  std::vector<float> x(size_t{1} << 20, 0.25F);
  x[777777] = -9;
  TensorStatistics s;
  s.add(x.data(), std::vector<int64_t>{1, 16, 256, 256}, Layout::row_major);
  EXPECT_FLOAT_EQ(s.min, -9);
  EXPECT_LT(s.histogram.counted(), x.size() / 4);
  EXPECT_GT(s.histogram.counted(), x.size() / 40);
  EXPECT_NEAR(static_cast<double>(s.histogram.total()), static_cast<double>(x.size()), 0.01 * x.size());
  EXPECT_NEAR(s.channel_means()[0], 0.25, 1e-5);
}

/// Statistics of images as `workers` see them that take turns.
TensorStatistics shared_out(const std::vector<std::vector<float>>& images, size_t workers) {
  std::vector<TensorStatistics> seen(workers);
  for (size_t i = 0; i < images.size(); ++i)
    seen[i % workers].add(images[i].data(), std::vector<int64_t>{1, 8, 100, 100}, Layout::row_major,
                          static_cast<int64_t>(i), 1);
  TensorStatistics all;
  for (const TensorStatistics& s : seen) all.merge(s);
  return all;
}

TEST(TensorStatistics, AreTheSameForAnyNumberOfWorkers) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> images(9);
  for (size_t i = 0; i < images.size(); ++i) {
    images[i].resize(80000);
    for (float& v : images[i]) v = i == 4 ? 0.0F : normal(random) * static_cast<float>(1 + i % 5);
  }
  const TensorStatistics one = shared_out(images, 1);
  for (const size_t workers : {2, 3, 9, 12}) {
    const TensorStatistics many = shared_out(images, workers);
    EXPECT_EQ(many.min, one.min);
    EXPECT_EQ(many.max, one.max);
    EXPECT_EQ(many.count, one.count);
    EXPECT_EQ(many.channel_amax, one.channel_amax);
    EXPECT_EQ(many.histogram.bin_width(), one.histogram.bin_width());
    EXPECT_TRUE(std::ranges::equal(many.histogram.counts(), one.histogram.counts())) << workers;
    EXPECT_EQ(many.histogram.zeros(), one.histogram.zeros());
    for (size_t c = 0; c < 8; ++c) EXPECT_NEAR(many.channel_means()[c], one.channel_means()[c], 1e-6);
  }
}

TEST(AbsHistogram, RangesOfAnyDistanceMerge) {
  const float largest = std::numeric_limits<float>::max();
  for (const auto& [a, b] :
       {std::pair{1e20F, 1.0F}, {1.0F, 1e20F}, {1e31F, largest}, {largest, 1e-38F}, {1e-38F, 3.0F}}) {
    AbsHistogram first;
    first.add(std::vector{a, 0.0F});
    AbsHistogram second;
    second.add(std::vector{b});
    first.merge(second);
    AbsHistogram together;
    together.add(std::vector{a, b, 0.0F});
    EXPECT_EQ(first.bin_width(), together.bin_width()) << a << " " << b;
    EXPECT_TRUE(std::ranges::equal(first.counts(), together.counts())) << a << " " << b;
    EXPECT_EQ(first.total(), 3U);
  }
}

TEST(TensorStatistics, SamplesThatComeTogetherCountAsAlone) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> data(4 * 32 * 40 * 40);
  for (float& v : data) v = normal(random);
  TensorStatistics together;
  together.add(data.data(), std::vector<int64_t>{4, 32, 40, 40}, Layout::channels_last, 62, 4);
  TensorStatistics alone;
  for (int64_t i = 0; i < 4; ++i)
    alone.add(data.data() + i * 32 * 40 * 40, std::vector<int64_t>{1, 32, 40, 40}, Layout::channels_last, 62 + i, 1);
  EXPECT_TRUE(std::ranges::equal(together.histogram.counts(), alone.histogram.counts()));
  EXPECT_EQ(together.histogram.counted(), alone.histogram.counted());
  EXPECT_EQ(together.count, alone.count);
}

TEST(TensorStatistics, OfManySamplesOneInFourStandsForTheOthersWhereTheInterestIsLow) {
  TensorStatistics s;
  TensorStatistics of_little_interest;
  std::vector<float> data(64, 0.5F);
  for (int64_t i = 0; i < 264; ++i) {
    data[7] = i == 101 ? -9.0F : i == 100 ? 4.0F : 0.5F;
    s.add(data.data(), std::vector<int64_t>{1, 4, 4, 4}, Layout::row_major, i, 1);
    of_little_interest.add(data.data(), std::vector<int64_t>{1, 4, 4, 4}, Layout::row_major, i, 1, Interest::low);
  }
  EXPECT_EQ(s.min, -9);
  EXPECT_EQ(s.max, 4);
  EXPECT_EQ(s.count, 264U * 64);
  EXPECT_EQ(s.histogram.counted(), s.count);
  EXPECT_EQ(of_little_interest.histogram.counted(), (64U + 50) * 64);
  EXPECT_EQ(s.histogram.total(), s.count);
  EXPECT_EQ(of_little_interest.min, 0.5F);
  EXPECT_EQ(of_little_interest.max, 4);
  EXPECT_EQ(of_little_interest.count, (64U + 50) * 64);
  EXPECT_TRUE(std::ranges::equal(of_little_interest.histogram.counts().first(16), std::vector<uint64_t>(16)));
  EXPECT_EQ(of_little_interest.histogram.total(), s.histogram.total());
}

TEST(TensorStatistics, AnEmptyTensorChangesNothing) {
  TensorStatistics s;
  s.add(nullptr, std::vector<int64_t>{0, 3, 4, 4}, Layout::row_major);
  EXPECT_EQ(s.count, 0U);
  EXPECT_EQ(s.amax(), 0);
}

}  // namespace
}  // namespace planish
