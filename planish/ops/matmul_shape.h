#pragma once

#include <optional>

#include "planish/ir/shape.h"

namespace planish {

/// A batched matrix product [..., M, K] x [..., K, N] with numpy broadcasting; -1 where a dimension is unknown.
struct MatMulShape {
  int64_t m = 1;
  int64_t n = 1;
  int64_t k = 1;
  Shape batch;    ///< broadcast batch dimensions
  Shape a_batch;  ///< those of A alone
  Shape b_batch;  ///< those of B alone
  Shape y;        ///< shape of the product; 1-D operands lose their dimension as in numpy.matmul
};

/// nullopt: the shapes do not multiply. `trans_a`, `trans_b` swap the last two dimensions of operands of rank >= 2.
std::optional<MatMulShape> resolve_matmul(const Shape& a, const Shape& b, bool trans_a = false, bool trans_b = false);

}  // namespace planish
