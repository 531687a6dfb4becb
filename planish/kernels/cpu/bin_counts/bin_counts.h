#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"

namespace planish::kernels {

// Counters of a histogram of |x|. There are several copies of each, so that an increment need not wait for the one
// before it where many values share a bin; short ones, so that all stay in the first-level cache.

inline constexpr size_t kBins = 2048;
/// Values that are counted at once.
inline constexpr int64_t kBinRun = 16;
/// Value i of a run goes to copy i % kBinCopies.
inline constexpr size_t kBinCopies = 4;
/// Zeros have counters of their own behind the bins, zero i of a run counter i / kBinCopies: half of what follows a
/// Relu is zero.
inline constexpr size_t kBinZeros = 4;
/// From one copy to the next.
inline constexpr size_t kBinStride = kBins + kBinZeros;

/// Counts `runs` runs of kBinRun values, which begin `step` values apart, in bins 1 / `per_width` wide; what lies
/// beyond the last falls into it. The caller sees to it that no counter overflows.
using CountRunsFn = void (*)(const float* x, int64_t runs, int64_t step, float per_width, uint16_t* counts);
/// Adds the bins (zeros are not among them), `weight` times each, to kBins sums; returns how many values they counted.
using AddBinsFn = uint64_t (*)(const uint16_t* counts, uint32_t weight, uint64_t* sums);

struct BinCountsKernel {
  std::string_view name;
  Isa isa = Isa::baseline;
  CountRunsFn count = nullptr;
  AddBinsFn add = nullptr;
};

/// Fastest first; the last row runs everywhere.
std::span<const BinCountsKernel> bin_counts_kernels();
/// The first row that this machine can run.
const BinCountsKernel& best_bin_counts_kernel();

}  // namespace planish::kernels
