#pragma once

#include "planish/ops/op.h"

namespace planish {

/// A scale or zero point of QuantizeLinear/DequantizeLinear, brought to a shape that broadcasts to `x`: a scalar as
/// it is, a vector along `axis` (per-axis), or a tensor of the rank of x whose `axis` dimension counts blocks of
/// `block_size` elements (blocked; repeated to the full dimension). Errors name the shapes.
Result<Tensor> align_quantization(const RefContext& ctx, const Tensor& parameter, const Shape& x, int64_t axis,
                                  int64_t block_size);

/// Smallest and largest value of an integer type of at most 32 bits, as QuantizeLinear saturates to them.
struct IntegerRange {
  double low = 0;
  double high = 0;
};
IntegerRange integer_range(DType t);

/// round-to-even(value) + zero_point, saturated to `range`; NaN counts as 0.
double quantize_to_integer(double value, double zero_point, IntegerRange range);

}  // namespace planish
