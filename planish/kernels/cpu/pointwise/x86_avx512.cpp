#include "planish/kernels/cpu/pointwise/generic.h"
#include "planish/kernels/cpu/pointwise/variants.h"

namespace planish::kernels {

void pointwise_avx512(PointwiseOp op, int64_t n, const float* a, const float* b, float* y, float alpha, float beta) {
  pointwise_generic(op, n, a, b, y, alpha, beta);
}

}  // namespace planish::kernels
