#pragma once

#include <cstdint>

namespace planish::kernels {

void taps_avx2(int64_t n, int64_t taps, int64_t stride, const int32_t* index, const float* weight, const float* x,
               bool accumulate, float* y);
void taps_avx512(int64_t n, int64_t taps, int64_t stride, const int32_t* index, const float* weight, const float* x,
                 bool accumulate, float* y);

}  // namespace planish::kernels
