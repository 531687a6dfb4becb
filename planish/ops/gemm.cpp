#include "planish/ops/gemm.h"

#include <algorithm>
#include <vector>

namespace planish {
namespace {

constexpr int64_t kRows = 4;      // rows of C per register tile
constexpr int64_t kDepth = 256;   // K per block: a packed panel of B stays in the first-level cache
constexpr int64_t kColumns = 96;  // columns of C per packed block of B, a multiple of every tile width

/// Two 16-byte vectors per row: with four rows the tile takes 8 of the 16 registers of baseline x86-64.
template <typename T>
constexpr int64_t kTile = 32 / static_cast<int64_t>(sizeof(T));

/// Packs a [rows, K] strip so that the values of one k are contiguous, zero-filled to `width` rows.
template <typename T>
void pack(const T* from, int64_t row_stride, int64_t k_stride, int64_t rows, int64_t width, int64_t depth, T* to) {
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t i = 0; i < rows; ++i) to[k * width + i] = from[i * row_stride + k * k_stride];
    for (int64_t i = rows; i < width; ++i) to[k * width + i] = T{};
  }
}

/// acc[kRows][kTile] = sum over k of a[k][kRows] * b[k][kTile].
template <typename T>
void tile_product(int64_t depth, const T* a, const T* b, T* acc) {
  using Vector [[gnu::vector_size(16)]] = T;
  constexpr int64_t kLanes = 16 / static_cast<int64_t>(sizeof(T));
  Vector sum[kRows][2] = {};
  for (int64_t k = 0; k < depth; ++k) {
    Vector b0;
    Vector b1;
    __builtin_memcpy(&b0, b + k * kTile<T>, sizeof b0);
    __builtin_memcpy(&b1, b + k * kTile<T> + kLanes, sizeof b1);
    for (int64_t i = 0; i < kRows; ++i) {
      const T x = a[k * kRows + i];
      sum[i][0] += b0 * x;
      sum[i][1] += b1 * x;
    }
  }
  __builtin_memcpy(acc, sum, sizeof sum);
}

/// C[N] += a[K] * B for rows of B as they lie, read from end to end: packing them would cost more than the products.
template <typename T>
void row_product(int64_t N, int64_t K, const T* a, int64_t a_stride, const T* b, int64_t b_row, T* c) {
  constexpr int64_t kColumnsAtOnce = 2048;
  constexpr int64_t kRowsAtOnce = 4;
  std::vector<T> sums(static_cast<size_t>(std::min(N, kColumnsAtOnce)));
  T* sum = sums.data();
  for (int64_t n0 = 0; n0 < N; n0 += kColumnsAtOnce) {
    const int64_t columns = std::min(kColumnsAtOnce, N - n0);
    for (int64_t k0 = 0; k0 < K; k0 += kDepth) {
      const int64_t end = std::min(k0 + kDepth, K);
      std::fill_n(sum, columns, T{});
      int64_t k = k0;
      for (; k + kRowsAtOnce <= end; k += kRowsAtOnce) {
        const T* x = a + k * a_stride;
        const T* row = b + k * b_row + n0;
        for (int64_t j = 0; j < columns; ++j) {
          T v = sum[j] + x[0] * row[j];
          v += x[a_stride] * row[j + b_row];
          v += x[2 * a_stride] * row[j + 2 * b_row];
          sum[j] = v + x[3 * a_stride] * row[j + 3 * b_row];
        }
      }
      for (; k < end; ++k)
        for (int64_t j = 0; j < columns; ++j) sum[j] += a[k * a_stride] * b[k * b_row + n0 + j];
      for (int64_t j = 0; j < columns; ++j) c[n0 + j] += sum[j];
    }
  }
}

}  // namespace

template <typename T>
void gemm(int64_t M, int64_t N, int64_t K, MatrixView<T> A, MatrixView<T> B, T* C, int64_t c_stride) {
  if (M == 1 && B.col_stride == 1) return row_product(N, K, A.data, A.col_stride, B.data, B.row_stride, C);
  constexpr int64_t width = kTile<T>;
  std::vector<T> packed_b(static_cast<size_t>(kDepth * kColumns));
  std::vector<T> packed_a(static_cast<size_t>(kDepth * kRows));
  T acc[kRows * width];
  for (int64_t k0 = 0; k0 < K; k0 += kDepth) {
    const int64_t depth = std::min(kDepth, K - k0);
    for (int64_t n0 = 0; n0 < N; n0 += kColumns) {
      const int64_t columns = std::min(kColumns, N - n0);
      for (int64_t j = 0; j < columns; j += width)
        pack(B.data + k0 * B.row_stride + (n0 + j) * B.col_stride, B.col_stride, B.row_stride,
             std::min(width, columns - j), width, depth, packed_b.data() + j * kDepth);
      for (int64_t m = 0; m < M; m += kRows) {
        const int64_t rows = std::min(kRows, M - m);
        pack(A.data + m * A.row_stride + k0 * A.col_stride, A.row_stride, A.col_stride, rows, kRows, depth,
             packed_a.data());
        for (int64_t j = 0; j < columns; j += width) {
          tile_product(depth, packed_a.data(), packed_b.data() + j * kDepth, acc);
          const int64_t cols = std::min(width, columns - j);
          for (int64_t i = 0; i < rows; ++i)
            for (int64_t x = 0; x < cols; ++x) C[(m + i) * c_stride + n0 + j + x] += acc[i * width + x];
        }
      }
    }
  }
}

template void gemm(int64_t, int64_t, int64_t, MatrixView<float>, MatrixView<float>, float*, int64_t);
template void gemm(int64_t, int64_t, int64_t, MatrixView<double>, MatrixView<double>, double*, int64_t);
template void gemm(int64_t, int64_t, int64_t, MatrixView<uint32_t>, MatrixView<uint32_t>, uint32_t*, int64_t);
template void gemm(int64_t, int64_t, int64_t, MatrixView<uint64_t>, MatrixView<uint64_t>, uint64_t*, int64_t);

}  // namespace planish
