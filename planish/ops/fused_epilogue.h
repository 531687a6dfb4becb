#pragma once

#include "planish/base/status.h"
#include "planish/ir/graph.h"
#include "planish/ir/tensor.h"
#include "planish/ops/scalar_functions.h"

namespace planish {

/// What FusedConv and FusedMatMul do behind the product: y = act(y + R), or act(y) + R when `residual_last`.
struct FusedEpilogue {
  const UnaryFunction* activation = nullptr;  ///< nullptr: none
  ScalarParams params;
  bool residual_last = false;
};

/// Reads `activation`, `act_alpha`, `act_beta`, `act_approximate` and `residual_last`. Parameters that the node does
/// not name have the ONNX default of the activation. Error unsupported: no such unary function.
Result<FusedEpilogue> read_epilogue(const Node& node);

/// Applies the epilogue to `y`, an array of `y_shape`; `residual` may be nullptr, else it is broadcast to `y_shape`.
/// T is float or double; the function itself is computed in double.
template <typename T>
void apply_epilogue(const FusedEpilogue& epilogue, const Tensor* residual, const Shape& y_shape, T* y);

extern template void apply_epilogue(const FusedEpilogue&, const Tensor*, const Shape&, float*);
extern template void apply_epilogue(const FusedEpilogue&, const Tensor*, const Shape&, double*);

}  // namespace planish
