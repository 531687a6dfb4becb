#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"

namespace planish::kernels {

/// Weighted sums of elements that lie anywhere: what resizing, sampling at coordinates and pooling of regions come down
/// to. y[i] = sum over t of weight[t * stride + i] * x[index[t * stride + i]] for i < n and t < taps, added to y[i]
/// when `accumulate`. A negative index reads 0, whatever its weight. y must not overlap x.
using TapsFn = void (*)(int64_t n, int64_t taps, int64_t stride, const int32_t* index, const float* weight,
                        const float* x, bool accumulate, float* y);

struct TapsKernel {
  std::string_view name;
  Isa isa;
  TapsFn fn;
};

/// Fastest first; the last row runs everywhere.
std::span<const TapsKernel> taps_kernels();
/// The first row that this machine can run.
const TapsKernel& best_taps_kernel();

}  // namespace planish::kernels
