#include "planish/kernels/cpu/split_conv/split_conv.h"

#include <algorithm>
#include <array>

#include "planish/kernels/cpu/split_conv/variants.h"

namespace planish::kernels {
namespace {

int64_t steps_of(int64_t channels) { return (channels + kSplitStep - 1) / kSplitStep; }
int64_t vectors_of(int64_t filters) { return (filters + kSplitVector - 1) / kSplitVector; }

/// Calls f(index into packed, index into w) for every weight.
template <typename F>
void each_weight(int64_t filters, int64_t channels, int64_t taps, F f) {
  constexpr int64_t kTile = kSplitStep * kSplitVector;
  for (int64_t k = 0; k < filters; ++k) {
    const int64_t vector = k / kSplitVector;
    const int64_t first = vector / 2 * 2;
    const int64_t wide = std::min<int64_t>(2, vectors_of(filters) - first);
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t t = 0; t < taps; ++t) {
        const int64_t step = t * steps_of(channels) + c / kSplitStep;
        const int64_t in_step = c % kSplitStep;
        const int64_t in_tile = (in_step / 2 * kSplitVector + k % kSplitVector) * 2 + in_step % 2;
        f(split_weights_offset(first, channels, taps) + (step * wide + vector - first) * kTile + in_tile,
          (k * channels + c) * taps + t);
      }
  }
}

}  // namespace

std::span<const SplitConvKernel> split_conv_kernels() {
  static const std::array kernels{kSplitConvAmx};
  return kernels;
}

const SplitConvKernel* best_split_conv_kernel() {
  for (const SplitConvKernel& kernel : split_conv_kernels())
    if (cpu_features().has(kernel.isa)) return &kernel;
  return nullptr;
}

int64_t split_weights_offset(int64_t vector, int64_t channels, int64_t taps) {
  return vector * kSplitVector * taps * steps_of(channels) * kSplitStep;
}

void pack_split_weights(int64_t filters, int64_t channels, int64_t taps, const float* w, float* packed) {
  std::fill_n(packed, split_weights_offset(vectors_of(filters), channels, taps), 0.0F);
  each_weight(filters, channels, taps, [&](int64_t at, int64_t plain) { packed[at] = w[plain]; });
}

void unpack_split_weights(int64_t filters, int64_t channels, int64_t taps, const float* packed, float* w) {
  each_weight(filters, channels, taps, [&](int64_t at, int64_t plain) { w[plain] = packed[at]; });
}

}  // namespace planish::kernels
