#pragma once

#include <cstdint>
#include <span>

#include "planish/quant/input_rows.h"

namespace planish {

/// A product of many small groups, and where what reconstruct_groups() makes of it goes.
struct GroupedProduct {
  const InputRows& in_float;
  const InputRows& quantised;
  std::span<const float> weights;  ///< [outputs, K]
  std::span<const float> scale;    ///< [outputs]
  const WeightLimit& limit;
  bool has_bias = false;
  std::span<int8_t> q;      ///< [outputs, K]
  std::span<double> shift;  ///< [outputs]: what the bias has to take
};

/// Weights per output channel up to which reconstruct_groups() is made for a product.
inline constexpr int64_t kLargestGroup = 64;

/// reconstruct_weights() for convolutions in groups of at most kLargestGroup weights per output channel (depthwise ones
/// above all): the systems of equations of neighbouring groups are solved side by side in the lanes of vectors. The
/// rounded weights go to `q`, the mean error of the results to `shift`.
void reconstruct_groups(const GroupedProduct& product);

}  // namespace planish
