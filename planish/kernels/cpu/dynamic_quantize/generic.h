#pragma once

// The loops behind every instruction set; included by one file per instruction set and nothing else.

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/kernels/cpu/dynamic_quantize/dynamic_quantize.h"

namespace planish::kernels {
namespace {

/// Two vectors of W lanes per step.
template <int W>
struct DynamicQuantize {
  static constexpr int kLanes = 2 * W;

  static void range(int64_t n, const float* x, float* low, float* high) {
    float least[kLanes] = {};
    float most[kLanes] = {};
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
      for (int l = 0; l < kLanes; ++l) {
        least[l] = x[i + l] < least[l] ? x[i + l] : least[l];
        most[l] = most[l] < x[i + l] ? x[i + l] : most[l];
      }
    for (; i < n; ++i) {
      least[0] = x[i] < least[0] ? x[i] : least[0];
      most[0] = most[0] < x[i] ? x[i] : most[0];
    }
    for (int l = 1; l < kLanes; ++l) {
      least[0] = least[l] < least[0] ? least[l] : least[0];
      most[0] = most[0] < most[l] ? most[l] : most[0];
    }
    *low = least[0];
    *high = most[0];
  }

  static void quantize(int64_t n, const float* x, float scale, int32_t zero, uint8_t* y) {
    const auto first = static_cast<float>(-zero);
    const auto last = static_cast<float>(255 - zero);
    // Adding 1.5 * 2^23 leaves no bits behind the point, so that the sum is rounded to even.
    constexpr float kRound = 12582912.0F;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) {
      float v = x[i] / scale;
      v = v == v ? v : 0.0F;
      v = v < first ? first : v;
      v = last < v ? last : v;
      v = (v + kRound) - kRound;
      y[i] = static_cast<uint8_t>(static_cast<int32_t>(v) + zero);
    }
  }
};

}  // namespace
}  // namespace planish::kernels
