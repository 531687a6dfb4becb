#pragma once

#include "planish/base/status.h"
#include "planish/ir/graph.h"
#include "planish/ops/fused_epilogue.h"

namespace planish {

/// A per-tensor quantisation: real = (q - zero) * scale.
struct TensorScale {
  float scale = 1;
  int64_t zero = 0;
};

/// The numbers of planish.QuantizedConv and planish.QuantizedMatMul. The names of the attributes are those in
/// docs/quantisation.md: x_scale for a convolution, a_scale for a matrix product, and so on.
struct QuantizedAttrs {
  TensorScale x;              ///< of the first operand
  int64_t x_low = -128;       ///< no value of the first operand is below (i8: 0 says that it is never negative)
  int64_t w_zero = 0;         ///< of a matrix product's second operand
  TensorScale y;              ///< ignored when y_type is f32
  TensorScale r;              ///< ignored when the residual is f32
  DType y_type = DType::f32;  ///< i8, u8, f32
  FusedEpilogue epilogue;
};

/// Reads and checks them. Errors invalid_model: a scale that is not positive and finite, a zero point outside the type
/// (y only: the operands' types are not known here), an unusable y_type.
Result<QuantizedAttrs> read_quantized_attrs(const Node& node);

}  // namespace planish
