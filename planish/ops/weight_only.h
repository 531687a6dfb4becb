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

/// The sizes, checked against the shape of the scales. Error shape_mismatch: B is no matrix, or the scales are not
/// [blocks, N].
Result<WeightOnlyMatrix> weight_only_matrix(const Node& node, const Shape& b, const Shape& scale);

/// The product as a planish.FusedMatMul whose B is in float.
Node widened_node(const Node& node);

/// B in f32: (b - zero) * scale. `zero` may be nullptr.
Tensor widened_weights(const WeightOnlyMatrix& w, const Tensor& b, const Tensor& scale, const Tensor* zero);

/// The inverse: integers of `type`, exact where `widened` came from widened_weights().
Tensor narrowed_weights(const WeightOnlyMatrix& w, const Tensor& widened, DType type, const Tensor& scale,
                        const Tensor* zero);

}  // namespace planish
