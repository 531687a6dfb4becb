#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "planish/ir/layout.h"
#include "planish/quant/bin_counts.h"

namespace planish {

/// Minimum, maximum and sum of a number of values, not finite ones left out and counted.
struct RunStatistics {
  float min = INFINITY;
  float max = -INFINITY;
  double sum = 0;
  uint64_t nans = 0;
  uint64_t infinities = 0;
  uint64_t count = 0;

  /// Adds `n` values that lie `step` apart.
  void add_one_by_one(const float* x, int64_t n, int64_t step);
};

/// How the channels of a tensor lie in memory: `outer` images of `channels` x `inner` values.
struct ChannelView {
  int64_t outer = 1;
  int64_t channels = 1;
  int64_t inner = 1;
  int64_t block = 1;  ///< channels side by side: all for channels_last, 8 or 16 for the blocked layouts

  [[nodiscard]] int64_t size() const { return outer * channels * inner; }
  [[nodiscard]] int64_t blocks() const { return (channels + block - 1) / block; }
  /// With the channels that only fill up the last block.
  [[nodiscard]] int64_t stored() const { return outer * blocks() * block * inner; }
};

/// Images have their channels on dimension 1; sequences [N,T,C] and matrices [N,C] on the last one.
ChannelView view_channels(std::span<const int64_t> dims, Layout layout);

/// Which values of a tensor a histogram counts: one in `stride` runs of BinCounts::kRun neighbours, from run `start`
/// on.
struct SampledRuns {
  int64_t start = 0;
  int64_t stride = 1;
  float per_width = 0;  ///< of the bins
};

/// Minimum, maximum, sum and number of the finite values of each channel: an array for each, so that several channels
/// are added at once.
struct ChannelStatistics {
  explicit ChannelStatistics(int64_t channels = 0)
      : min(static_cast<size_t>(channels), INFINITY), max(min.size(), -INFINITY), sum(min.size()), count(min.size()) {}

  std::vector<float> min;
  std::vector<float> max;
  std::vector<double> sum;
  std::vector<uint64_t> count;
  uint64_t nans = 0;  ///< in all channels
  uint64_t infinities = 0;

  void merge(const ChannelStatistics& other);
  /// Of all channels, without their sum.
  [[nodiscard]] RunStatistics all() const;
};

/// What one walk over a tensor saw.
struct TensorScan {
  ChannelStatistics channels;     ///< empty when they were not asked for
  std::vector<BinCounts> counts;  ///< of the sampled runs, in parts; padding channels left out
};

/// Walks over a tensor once, in several threads. Each takes an equal share, and shares are joined in order, so that the
/// same data gives the same sums. Counts mean nothing where a value is not finite.
TensorScan scan_tensor(const float* data, const ChannelView& view, bool statistics,
                       const std::optional<SampledRuns>& runs);

}  // namespace planish
