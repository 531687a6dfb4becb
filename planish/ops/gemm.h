#pragma once

#include <cstdint>

namespace planish {

/// A matrix in memory: element (i, j) is data[i * row_stride + j * col_stride]; strides in elements.
template <typename T>
struct MatrixView {
  const T* data = nullptr;
  int64_t row_stride = 0;
  int64_t col_stride = 1;
};

/// C[M,N] += A[M,K] * B[K,N], C row-major with rows `c_stride` elements apart. Portable and single-threaded.
///
/// Summation: K is cut into blocks of 256; each block is summed one after the other in registers in type T, and block
/// sums are added to C. The error bound grows with 256 + K/256 instead of K, so float results agree with a
/// double-precision sum to about 1e-5 relative at K = 4096. Unsigned types wrap around, which also gives the exact
/// two's complement result of signed ones.
template <typename T>
void gemm(int64_t M, int64_t N, int64_t K, MatrixView<T> A, MatrixView<T> B, T* C, int64_t c_stride);

extern template void gemm(int64_t, int64_t, int64_t, MatrixView<float>, MatrixView<float>, float*, int64_t);
extern template void gemm(int64_t, int64_t, int64_t, MatrixView<double>, MatrixView<double>, double*, int64_t);
extern template void gemm(int64_t, int64_t, int64_t, MatrixView<uint32_t>, MatrixView<uint32_t>, uint32_t*, int64_t);
extern template void gemm(int64_t, int64_t, int64_t, MatrixView<uint64_t>, MatrixView<uint64_t>, uint64_t*, int64_t);

}  // namespace planish
