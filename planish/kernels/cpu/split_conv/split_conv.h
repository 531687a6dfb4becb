#pragma once

// Convolutions of f32 by a unit that multiplies bfloat16: every number is the sum of three of bfloat16, which hold the
// 24 bits of its mantissa, and of the nine products of two numbers' parts the six are summed that f32 can tell from
// zero beside the others.

#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"
#include "planish/kernels/cpu/float_epilogue/epilogue.h"

namespace planish::kernels {

constexpr int64_t kSplitParts = 3;
constexpr int64_t kSplitStep = 32;   ///< channels that are multiplied at a time
constexpr int64_t kSplitPanel = 32;  ///< filters
constexpr int64_t kSplitVector = 16;
constexpr int64_t kSplitTile = 16;  ///< positions, at most

/// Pixels in parts: [step of channels][part][position][kSplitStep], so that neighbouring positions can be read
/// together.
struct SplitImage {
  uint16_t* parts = nullptr;
  int64_t positions = 0;  ///< kSplitTile more than any output position looks at: whole tiles are read

  [[nodiscard]] int64_t part_size() const { return positions * kSplitStep; }
};

/// Numbers of the parts of `positions` positions with `channels` channels.
constexpr int64_t split_size(int64_t positions, int64_t channels) {
  return (channels + kSplitStep - 1) / kSplitStep * kSplitParts * positions * kSplitStep;
}

/// Pixels `pixel` apart from `x` on, each of `chunks` pieces of `chunk` contiguous floats, `x_chunk` apart; the last
/// may be shorter. Pieces are multiples of kSplitVector floats, or there is one. `x` == nullptr: all zero.
struct SplitSource {
  const float* x = nullptr;
  int64_t pixel = 0;
  int64_t chunk = 0, last_chunk = 0, chunks = 1, x_chunk = 0;
};

/// Weights on their way into parts: `rows` rows of tiles of a panel of `vectors` vectors, from [step][vector]
/// [kSplitStep / 2][kSplitVector][2] floats to [step][part][vector][kSplitStep / 2][kSplitVector][2] numbers.
struct SplitWeights {
  const float* from = nullptr;
  uint16_t* to = nullptr;
  int64_t rows = 0;
  int64_t vectors = 2;
  /// What is split later, to be brought into the second-level cache meanwhile, as much of it; nullptr: nothing.
  const float* later = nullptr;
  /// Rows of a step.
  [[nodiscard]] int64_t step_rows() const { return vectors * kSplitStep / 2; }
};

/// Where the products of a part go, and what with.
struct SplitConvPart {
  SplitImage image;
  int64_t first = 0;      ///< position in the image of tap 0 of the first output position
  int64_t positions = 0;  ///< of the output, line after line
  /// Of `line` positions in a line the first `pixels` are stored.
  int64_t line = 1, pixels = 1;
  const int64_t* taps = nullptr;  ///< where they look, in positions from the first on
  int64_t tap_count = 1;
  int64_t steps = 1;  ///< of channels
  /// Of the steps of all taps, one tap after the other, those that are multiplied: parts behind the first go on with
  /// the sums that the ones before left, and the last applies the epilogue.
  int64_t depth = 0, last_depth = 1;
  const uint16_t* weights = nullptr;  ///< of these steps, in parts
  SplitWeights next;                  ///< to be split meanwhile
  float* sums = nullptr;  ///< split_sums(positions) floats, where not all steps are multiplied; on a cache line
  int64_t filters = 0;    ///< from the panel's first on that exist in the output
  int64_t vectors = 0;    ///< of the panel: 1 or 2
  float* y = nullptr;     ///< the first position's first filter
  int64_t y_pixel = 0, y_row = 0, y_vector = 0;
};

constexpr int64_t split_sums(int64_t positions) {
  return (positions + 2 * kSplitTile - 1) / (2 * kSplitTile) * 4 * kSplitTile * kSplitVector;
}

struct SplitConvKernel {
  std::string_view name;
  Isa isa;
  /// `count` pixels into positions [position, position + count).
  void (*split)(const SplitSource& source, int64_t count, const SplitImage& image, int64_t position);
  void (*split_weights)(const SplitWeights& weights);
  /// `epilogue`: bias and residual point at what belongs to `y`.
  void (*run)(const SplitConvPart& part, const FloatEpilogue& epilogue);
};

/// Fastest first; none runs everywhere.
std::span<const SplitConvKernel> split_conv_kernels();
/// nullptr: this processor has none.
const SplitConvKernel* best_split_conv_kernel();

/// Floats in front of a vector of filters in packed weights; behind the last vector: all of them.
int64_t split_weights_offset(int64_t vector, int64_t channels, int64_t taps);
/// `w`: [filters, channels, taps], as panels of two vectors, of which the last may have one: by panel, [tap][step]
/// [vector][kSplitStep / 2][kSplitVector][2], padded with zeros.
void pack_split_weights(int64_t filters, int64_t channels, int64_t taps, const float* w, float* packed);
/// The inverse.
void unpack_split_weights(int64_t filters, int64_t channels, int64_t taps, const float* packed, float* w);

}  // namespace planish::kernels
