#pragma once

#include <array>
#include <cstdint>

#include "planish/api/data.h"

namespace planish::tools {

/// The numbers of numpy.random.RandomState(seed), bit for bit: the 32-bit Mersenne Twister and numpy's ways to turn its
/// words into values, so that a seed means the same inputs as in Polygraphy.
/// Source: Matsumoto and Nishimura, "Mersenne Twister", ACM TOMACS 8(1), 1998.
class RandomState {
 public:
  explicit RandomState(uint32_t seed);
  /// random_sample(shape) * (high - low) + low in float64, rounded to `dtype`. An infinite bound scales by itself.
  Tensor floats(DType dtype, const Shape& shape, double low, double high);
  /// randint(low, high + 1, shape, dtype): both ends included. high >= low.
  Tensor integers(DType dtype, const Shape& shape, int64_t low, int64_t high);

 private:
  uint32_t next32();
  uint64_t next64();
  double next_double();
  /// A number in [0, range], drawn by masking and rejecting, `bits` (1, 8, 16 or 32) of a word at a time.
  uint32_t bounded(uint32_t range, int bits);

  std::array<uint32_t, 624> state_{};
  size_t position_ = 624;
  uint32_t buffer_ = 0;
  int buffered_ = 0;
};

}  // namespace planish::tools
