#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "planish/base/macros.h"

namespace planish {

/// Counts how many |x| fall into each bin of a histogram. Several copies of each counter, so that an increment need not
/// wait for the one before it where many values share a bin; short ones, so that all stay in the first-level cache.
class BinCounts {
 public:
  static constexpr size_t kBins = 2048;
  /// Values that run() takes at once.
  static constexpr int64_t kRun = 16;
  /// Values that one of these may count: more could overflow a counter.
  static constexpr int64_t kMost = int64_t{1} << 17;

  /// Bins are 1 / `per_width` wide; what lies beyond the last falls into it.
  explicit BinCounts(float per_width) : per_width_(per_width), counts_(kCopies * kStride) {}

  /// Adds `n` values.
  void add(const float* x, int64_t n) {
    if (n == kRun) return add_run(x);
    for (int64_t i = 0; i < n; ++i) {
      ++counts_[turn_++ % kCopies * kStride + bin(x[i])];
      zeros_ += x[i] == 0 ? 1 : 0;
    }
  }

  [[nodiscard]] uint64_t zeros() const { return zeros_ + zeros_in_runs(); }
  /// Adds what was counted, `weight` times, to `counts`, one number for each bin. Returns how many were counted.
  uint64_t add_to(std::span<uint64_t> counts, uint64_t weight) const {
    uint64_t all = zeros_in_runs();
    counts[0] += all * weight;
    for (size_t i = 0; i < kBins; ++i) {
      uint32_t sum = 0;
      for (size_t k = 0; k < kCopies; ++k) sum += counts_[k * kStride + i];
      counts[i] += uint64_t{sum} * static_cast<uint32_t>(weight);
      all += sum;
    }
    return all;
  }

 private:
  using F = float __attribute__((vector_size(16)));
  using I = int32_t __attribute__((vector_size(16)));
  static constexpr size_t kCopies = 4;
  static constexpr size_t kVectors = 4;
  /// Zeros of the four vectors of a run have a counter each: half of what follows a Relu is zero.
  static constexpr size_t kStride = kBins + kVectors;
  static constexpr auto kLast = static_cast<float>(kBins - 1);

  [[nodiscard]] uint64_t zeros_in_runs() const {
    uint64_t all = 0;
    for (size_t k = 0; k < kCopies; ++k)
      for (size_t i = kBins; i < kStride; ++i) all += counts_[k * kStride + i];
    return all;
  }

  [[nodiscard]] size_t bin(float v) const {
    const float at = std::fabs(v) * per_width_;
    return static_cast<size_t>(at < kLast ? at : kLast);
  }

  PLANISH_INLINE void add_run(const float* x) {
    std::array<I, kVectors> bins;  // NOLINT: all are written
    for (size_t i = 0; i < kVectors; ++i) {
      F v;
      std::memcpy(&v, x + i * kCopies, sizeof(F));
      const F at = (v < 0 ? -v : v) * per_width_;
      const I in_range = __builtin_convertvector(at < kLast ? at : F{} + kLast, I);
      bins[i] = v == 0 ? I{} + static_cast<int32_t>(kBins + i) : in_range;
    }
    for (size_t i = 0; i < kVectors; ++i)
      for (size_t k = 0; k < kCopies; ++k)
        ++counts_[k * kStride + static_cast<size_t>(static_cast<uint32_t>(bins[i][k]))];
  }

  float per_width_;
  std::vector<uint16_t> counts_;
  uint64_t zeros_ = 0;  ///< counted by bin()
  size_t turn_ = 0;     ///< of the copies, for values that come one by one
};

}  // namespace planish
