#pragma once

#include "planish/base/status.h"
#include "planish/ir/graph.h"
#include "planish/ir/tensor.h"

namespace planish {

/// Inputs of planish.WeightOnlyMatMul: those of planish.FusedMatMul, then the parameters of B.
enum WeightOnlyInput : size_t {
  kWeightOnlyA,
  kWeightOnlyB,
  kWeightOnlyBias,
  kWeightOnlyResidual,
  kWeightOnlyScale,
  kWeightOnlyZero
};

/// Sizes of B. Element (k, n) is element k * k_stride + n * n_stride of the tensor.
struct WeightOnlyMatrix {
  int64_t k = 0;
  int64_t n = 0;
  int64_t k_stride = 0;
  int64_t n_stride = 0;
  int64_t block = 0;  ///< rows that share a scale

  [[nodiscard]] int64_t blocks() const { return (k + block - 1) / block; }
};

/// Type and shape of an input; type undefined: it is absent.
struct TypedShape {
  DType dtype = DType::undefined;
  Shape shape;
};

/// The sizes, once everything fits. Error unsupported: B is not of i4, u4, i8 or u8, the scales not of f32, or the zero
/// points not of B's type. Error shape_mismatch: B is no matrix of known size, or scales or zero points are not
/// [blocks, N].
Result<WeightOnlyMatrix> weight_only_matrix(const Node& node, const TypedShape& b, const TypedShape& scale,
                                            const TypedShape& zero);

/// Fits when A [..., M, K] in float can be multiplied by B. Error unsupported, shape_mismatch.
Status check_weight_only_rows(const Node& node, const TypedShape& a, const WeightOnlyMatrix& w);

/// The product as a planish.FusedMatMul whose B is in float. What the operator has no attributes for (trans_a, alpha)
/// is left out.
Node widened_node(const Node& node);

/// B in f32: (b - zero) * scale. `zero` may be nullptr.
Tensor widened_weights(const WeightOnlyMatrix& w, const Tensor& b, const Tensor& scale, const Tensor* zero);

/// The inverse: integers of `type`, exact where `widened` (f32, B's shape) came from widened_weights().
Tensor narrowed_weights(const WeightOnlyMatrix& w, const Tensor& widened, DType type, const Tensor& scale,
                        const Tensor* zero);

}  // namespace planish
