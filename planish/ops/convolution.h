#pragma once

#include "planish/ops/conv_geometry.h"

namespace planish {

/// y[N,K,out...] = x[N,C,in...] convolved with w[K,C/G,kernel...], plus bias[K] unless that is nullptr. Any number of
/// spatial axes. Sums as gemm() does, or tap by tap when a group has few output channels (depthwise).
/// `shape` must be fully known. T is float, double, uint32_t.
template <typename T>
void convolve(const ConvShape& shape, const T* x, const T* w, const T* bias, T* y);

/// y[N,K,window.in...] = transposed convolution of x[N,C,window.out...] with w[C,K/G,kernel...], see
/// resolve_conv_transpose(). T is float or double.
template <typename T>
void convolve_transposed(const ConvShape& shape, const T* x, const T* w, const T* bias, T* y);

extern template void convolve(const ConvShape&, const float*, const float*, const float*, float*);
extern template void convolve(const ConvShape&, const double*, const double*, const double*, double*);
extern template void convolve(const ConvShape&, const uint32_t*, const uint32_t*, const uint32_t*, uint32_t*);
extern template void convolve_transposed(const ConvShape&, const float*, const float*, const float*, float*);
extern template void convolve_transposed(const ConvShape&, const double*, const double*, const double*, double*);

}  // namespace planish
