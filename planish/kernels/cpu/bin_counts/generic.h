#pragma once

// The loops behind every instruction set, in GCC's vector extension; included by one file per instruction set and
// nothing else.

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/kernels/cpu/bin_counts/bin_counts.h"

namespace planish::kernels {
namespace {

template <int kLanes>
struct BinVectors {
  typedef float F __attribute__((vector_size(4 * kLanes)));    // NOLINT(modernize-use-using): g++ 12 wants it so
  typedef int32_t I __attribute__((vector_size(4 * kLanes)));  // NOLINT(modernize-use-using)
};

/// `kLanes`: of a vector register.
template <int kLanes>
void count_runs_generic(const float* x, int64_t runs, int64_t step, float per_width, uint16_t* counts) {
  using F = typename BinVectors<kLanes>::F;
  using I = typename BinVectors<kLanes>::I;
  constexpr int kVectors = kBinRun / kLanes;
  constexpr auto kLast = static_cast<float>(kBins - 1);
  I copy[kVectors];  // where the copy of a lane begins, and its counter of zeros
  I zero[kVectors];
  for (int v = 0; v < kVectors; ++v)
    for (int i = 0; i < kLanes; ++i) {
      const auto lane = static_cast<size_t>(v * kLanes + i);
      copy[v][i] = static_cast<int32_t>(lane % kBinCopies * kBinStride);
      zero[v][i] = copy[v][i] + static_cast<int32_t>(kBins + lane / kBinCopies);
    }
  for (int64_t r = 0; r < runs; ++r) {
    const float* const run = x + r * step;
    I counter[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      F value;
      __builtin_memcpy(&value, run + v * kLanes, sizeof(F));
      const F at = (value < 0 ? -value : value) * per_width;
      const I bin = __builtin_convertvector(at < kLast ? at : F{} + kLast, I) + copy[v];
      counter[v] = value == 0 ? zero[v] : bin;
    }
    for (int v = 0; v < kVectors; ++v)
      for (int i = 0; i < kLanes; ++i) ++counts[static_cast<uint32_t>(counter[v][i])];
  }
}

PLANISH_INLINE uint64_t add_bins_generic(const uint16_t* counts, uint32_t weight, uint64_t* sums) {
  uint32_t all = 0;
  for (size_t i = 0; i < kBins; ++i) {
    uint32_t sum = 0;
    for (size_t k = 0; k < kBinCopies; ++k) sum += counts[k * kBinStride + i];
    sums[i] += uint64_t{sum} * weight;
    all += sum;
  }
  return all;
}

}  // namespace
}  // namespace planish::kernels
