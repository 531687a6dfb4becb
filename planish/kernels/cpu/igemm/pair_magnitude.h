#pragma once

#include <algorithm>
#include <cstdint>

namespace planish::kernels {

/// The largest magnitude that a * x + b * y has for x and y in 0..1: weights of opposite sign do not add up. What
/// 16-bit sums of two products must hold, times the largest input.
inline int32_t pair_magnitude(int8_t a, int8_t b) {
  const int32_t below = std::min<int32_t>(a, 0) + std::min<int32_t>(b, 0);
  const int32_t above = std::max<int32_t>(a, 0) + std::max<int32_t>(b, 0);
  return std::max(-below, above);
}

}  // namespace planish::kernels
