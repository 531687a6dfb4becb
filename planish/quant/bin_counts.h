#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "planish/kernels/cpu/bin_counts/bin_counts.h"

namespace planish {

/// Counts how many |x| fall into each bin of a histogram.
class BinCounts {
 public:
  static constexpr size_t kBins = kernels::kBins;
  /// Values that are counted at once.
  static constexpr int64_t kRun = kernels::kBinRun;
  /// Values that one of these may count: more could overflow a counter.
  static constexpr int64_t kMost = int64_t{1} << 17;

  /// Bins are 1 / `per_width` wide; what lies beyond the last falls into it.
  explicit BinCounts(float per_width) : per_width_(per_width), counts_(kernels::kBinCopies * kernels::kBinStride) {}

  /// Adds `n` values.
  void add(const float* x, int64_t n) {
    if (n == kRun) return add_runs(x, 1, kRun);
    for (int64_t i = 0; i < n; ++i) {
      ++counts_[turn_++ % kernels::kBinCopies * kernels::kBinStride + bin(x[i])];
      zeros_ += x[i] == 0 ? 1 : 0;
    }
  }
  /// Adds `runs` runs of kRun values that begin `step` values apart.
  void add_runs(const float* x, int64_t runs, int64_t step) {
    static const kernels::CountRunsFn count = kernels::best_bin_counts_kernel().count;
    count(x, runs, step, per_width_, counts_.data());
  }

  [[nodiscard]] uint64_t zeros() const { return zeros_ + zeros_in_runs(); }
  /// Adds what was counted, `weight` times, to `counts`, one number for each bin. Returns how many were counted.
  uint64_t add_to(std::span<uint64_t> counts, uint64_t weight) const {
    static const kernels::AddBinsFn add_bins = kernels::best_bin_counts_kernel().add;
    const uint64_t zeros = zeros_in_runs();
    counts[0] += zeros * weight;
    return zeros + add_bins(counts_.data(), static_cast<uint32_t>(weight), counts.data());
  }

 private:
  static constexpr auto kLast = static_cast<float>(kBins - 1);

  [[nodiscard]] uint64_t zeros_in_runs() const {
    uint64_t all = 0;
    for (size_t k = 0; k < kernels::kBinCopies; ++k)
      for (size_t i = kBins; i < kernels::kBinStride; ++i) all += counts_[k * kernels::kBinStride + i];
    return all;
  }

  [[nodiscard]] size_t bin(float v) const {
    const float at = std::fabs(v) * per_width_;
    return static_cast<size_t>(at < kLast ? at : kLast);
  }

  float per_width_;
  std::vector<uint16_t> counts_;
  uint64_t zeros_ = 0;  ///< counted by bin()
  size_t turn_ = 0;     ///< of the copies, for values that come one by one
};

}  // namespace planish
