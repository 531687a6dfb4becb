#pragma once

#include "planish/kernels/cpu/pointwise/pointwise.h"

namespace planish::kernels {

void pointwise_avx2(PointwiseOp op, int64_t n, const float* a, const float* b, float* y, float alpha, float beta);
void pointwise_avx512(PointwiseOp op, int64_t n, const float* a, const float* b, float* y, float alpha, float beta);

}  // namespace planish::kernels
