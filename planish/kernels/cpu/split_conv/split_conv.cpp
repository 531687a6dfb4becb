#include "planish/kernels/cpu/split_conv/split_conv.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "planish/kernels/cpu/split_conv/variants.h"

namespace planish::kernels {
namespace {

/// The upper half of a float, rounded to nearest; infinities and NaN stay what they are.
uint16_t nearest(float x) {
  constexpr uint32_t kHalf = 0x8000;
  const auto bits = std::bit_cast<uint32_t>(x);
  return static_cast<uint16_t>((std::isfinite(x) ? bits + kHalf : bits) >> 16);
}

float widen(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

std::array<uint16_t, kSplitParts> split(float x) {
  std::array<uint16_t, kSplitParts> parts{};
  for (uint16_t& part : parts) {
    part = nearest(x);
    x -= widen(part);
  }
  return parts;
}

int64_t steps_of(int64_t channels) { return (channels + kSplitStep - 1) / kSplitStep; }
int64_t vectors_of(int64_t filters) { return (filters + kSplitVector - 1) / kSplitVector; }

/// Calls f(index into packed of the first part, distance between parts, index into w) for every weight.
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
        f(split_weights_offset(first, channels, taps) + (step * kSplitParts * wide + vector - first) * kTile + in_tile,
          wide * kTile, (k * channels + c) * taps + t);
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
  return vector * kSplitVector * taps * steps_of(channels) * kSplitStep * kSplitParts;
}

int64_t split_weights_size(int64_t filters, int64_t channels, int64_t taps) {
  return split_weights_offset(vectors_of(filters), channels, taps);
}

void pack_split_weights(int64_t filters, int64_t channels, int64_t taps, const float* w, uint16_t* packed) {
  std::fill_n(packed, split_weights_size(filters, channels, taps), uint16_t{0});
  each_weight(filters, channels, taps, [&](int64_t at, int64_t apart, int64_t plain) {
    for (const uint16_t part : split(w[plain])) {
      packed[at] = part;
      at += apart;
    }
  });
}

void unpack_split_weights(int64_t filters, int64_t channels, int64_t taps, const uint16_t* packed, float* w) {
  each_weight(filters, channels, taps, [&](int64_t at, int64_t apart, int64_t plain) {
    // From the smallest on: so the sums are exact, as the number was.
    w[plain] = widen(packed[at]) + (widen(packed[at + apart]) + widen(packed[at + 2 * apart]));
  });
}

}  // namespace planish::kernels
