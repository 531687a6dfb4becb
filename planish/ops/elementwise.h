#pragma once

#include "planish/ops/op.h"
#include "planish/ops/scalar_functions.h"

namespace planish {

/// Parameters of `function` from the node's attributes, defaults where they are absent.
ScalarParams params_of(const UnaryFunction& function, const Node& node);

/// The row of the binary table that a node of the default domain stands for (Mod and BitShift have one row per
/// attribute value); nullptr when there is none.
const BinaryFunction* binary_function_of(const Node& node);

/// y[i] = f(a[i], b[i]) with both inputs broadcast to the shape of y. All three are computed in `domain_type`'s
/// number system (double, int64_t or uint64_t). False when f does not exist there.
bool apply_binary(const BinaryFunction& f, DType domain_type, const Tensor& a, const Tensor& b, Tensor& y);

/// Shape to which the first `count` inputs broadcast; the error names the two shapes that do not fit.
Result<Shape> broadcast_input_shapes(const InferContext& ctx, size_t count);
Result<Shape> broadcast_input_shapes(const RefContext& ctx, size_t count);

}  // namespace planish
