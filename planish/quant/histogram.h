#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "planish/ir/layout.h"
#include "planish/ir/shape.h"

namespace planish {

/// How often |x| fell into each of a fixed number of equally wide bins. The range grows with the data by doubling,
/// which merges neighbouring bins, so that memory stays the same however many values come. NaN and infinity are left
/// out.
class AbsHistogram {
 public:
  static constexpr size_t kBins = 2048;

  /// Adds all values; the range grows to what they need.
  void add(std::span<const float> values);
  /// Where channels that only fill up a blocked layout lie: the last of `blocks` blocks, each of `plane` values and
  /// `block` channels, has `last` channels. `block` 1: nowhere.
  struct ChannelBlocks {
    int64_t block = 1;
    int64_t plane = 1;
    int64_t blocks = 1;
    int64_t last = 1;
  };
  static constexpr int64_t kRun = 16;
  /// Adds one in `stride` runs of kRun neighbouring values, from run `start` on, in several threads. All are finite and
  /// cover() has seen their largest magnitude.
  void add_runs(const float* data, int64_t size, int64_t start, int64_t stride, const ChannelBlocks& padding);
  /// Makes the range reach `amax` (finite).
  void cover(float amax);

  /// Width of a bin in units of x; 0 before any value other than zero came.
  [[nodiscard]] double bin_width() const { return bin_width_; }
  /// Bin i counts i * width <= |x| < (i+1) * width. Zeros are among bin 0. Empty before the first value.
  [[nodiscard]] std::span<const uint64_t> counts() const { return counts_; }
  [[nodiscard]] uint64_t total() const { return total_; }
  [[nodiscard]] uint64_t zeros() const { return zeros_; }

 private:
  double bin_width_ = 0;
  std::vector<uint64_t> counts_;
  uint64_t total_ = 0;
  uint64_t zeros_ = 0;
};

/// Everything that calibration keeps of one tensor. Memory: the histogram and three numbers per channel.
struct TensorStatistics {
  AbsHistogram histogram;
  float min = 0;  ///< over the finite values; both 0 before the first
  float max = 0;
  uint64_t count = 0;  ///< values seen, not finite ones included
  uint64_t nans = 0;
  uint64_t infinities = 0;
  std::vector<double> channel_sums;  ///< by channel (dimension 1; the last one below rank 3), finite values only
  std::vector<uint64_t> channel_counts;
  std::vector<float> channel_amax;

  [[nodiscard]] float amax() const { return max > -min ? max : -min; }
  [[nodiscard]] bool finite() const { return nans == 0 && infinities == 0; }
  /// Mean of each channel over everything seen.
  [[nodiscard]] std::vector<float> channel_means() const;

  /// Adds a tensor of logical shape `dims` that lies in memory as `layout` says; padding channels do not count.
  /// Large tensors are counted by a sample of their values in the histogram; minimum, maximum and sums are exact.
  void add(const float* data, std::span<const int64_t> dims, Layout layout);

 private:
  void add_to_histogram(const float* data, std::span<const int64_t> dims, Layout layout, bool not_finite);
};

}  // namespace planish
