#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "planish/ir/layout.h"
#include "planish/quant/tensor_scan.h"

namespace planish {

/// How often |x| fell into each of a fixed number of equally wide bins. The range grows with the data by doubling,
/// which merges neighbouring bins, so that memory stays the same however many values come. NaN and infinity are left
/// out.
class AbsHistogram {
 public:
  static constexpr size_t kBins = BinCounts::kBins;

  /// Adds all values, each standing for `weight` of them; the range grows to what they need.
  void add(std::span<const float> values, uint64_t weight = 1);
  /// Adds what was counted in bins of the present width.
  void add(const BinCounts& counted, uint64_t weight);
  /// Adds what another one counted.
  void merge(const AbsHistogram& other);
  /// Makes the range reach `amax` (finite). Widths are powers of two, so that any two histograms can be merged.
  void cover(float amax);
  /// Whether the range reaches it.
  [[nodiscard]] bool covers(float amax) const { return static_cast<double>(amax) < bin_width_ * double{kBins}; }

  /// Width of a bin in units of x; 0 before any value other than zero came.
  [[nodiscard]] double bin_width() const { return bin_width_; }
  /// Bin i counts i * width <= |x| < (i+1) * width. Zeros are among bin 0. Empty before the first value.
  [[nodiscard]] std::span<const uint64_t> counts() const { return counts_; }
  [[nodiscard]] uint64_t total() const { return total_; }
  /// Values that were looked at; those they stand for are in total().
  [[nodiscard]] uint64_t counted() const { return counted_; }
  [[nodiscard]] uint64_t zeros() const { return zeros_; }

 private:
  /// Doubles the width of the bins.
  void widen();

  double bin_width_ = 0;
  std::vector<uint64_t> counts_;
  uint64_t total_ = 0;
  uint64_t counted_ = 0;
  uint64_t zeros_ = 0;
};

/// Of a tensor whose range decides something, and of one that nobody is expected to quantise.
enum class Interest : uint8_t { high, low };

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
  /// Large tensors are counted by a sample of their values in the histogram; minimum, maximum and sums are exact. Which
  /// values are sampled depends on the number of a sample in all data where the first dimension holds samples (else
  /// also on how many come together): the first ones are counted more densely.
  /// Where the `interest` is low, of many samples one in four is looked at, and counts for four.
  void add(const float* data, std::span<const int64_t> dims, Layout layout, int64_t first_sample, int64_t samples,
           Interest interest = Interest::high);
  /// The same for one sample behind those that came before.
  void add(const float* data, std::span<const int64_t> dims, Layout layout) { add(data, dims, layout, added_, 1); }
  /// Adds what was seen of other samples.
  void merge(const TensorStatistics& other);

 private:
  int64_t added_ = 0;  ///< samples
  void add_channels(const ChannelStatistics& channels);
  /// One value in `stride`, where some are not finite.
  void add_finite_to_histogram(const float* data, const ChannelView& view, const SampledRuns& runs, uint64_t weight);
};

}  // namespace planish
