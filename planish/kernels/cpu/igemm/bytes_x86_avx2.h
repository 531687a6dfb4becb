#pragma once

// Sums in registers that become bytes, for the files compiled for AVX2 and AVX-VNNI.

#include "planish/base/simd/bytes_x86_avx2.h"
#include "planish/base/simd/unroll.h"
#include "planish/kernels/cpu/quantized_epilogue/epilogue.h"

namespace planish::kernels {
namespace {

/// A tile of the output: its first element, that element's channel, and the columns that there are.
struct ByteTile {
  const QuantizedEpilogue& e;
  int64_t at;
  int64_t channel;
  int64_t cols;
};

struct ByteRows {
  const float* scale;
  const float* bias;
  uint8_t* y;
  int64_t y_row;
  int64_t cols;
  simd::Avx2Bytes range;

  PLANISH_INLINE explicit ByteRows(const ByteTile& t)
      : scale(t.e.scale + t.channel),
        bias(t.e.bias + t.channel),
        y(static_cast<uint8_t*>(t.e.y) + t.at),
        y_row(t.e.y_row),
        cols(t.cols),
        range(simd::Avx2Bytes::range(t.e.low, t.e.high, t.e.y_zero, t.e.y_type == QuantizedType::i8)) {}

  /// The sums of vector `v` of a row as floats that only need rounding.
  PLANISH_INLINE __m256 scaled(__m256i sums, int v) const {
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), _mm256_loadu_ps(scale + v * 8), _mm256_loadu_ps(bias + v * 8));
  }
  template <int V>
  PLANISH_INLINE void store(int row, const __m256* x) const {
    range.store<V>(y + row * y_row, x, cols);
  }
};

/// Where a product ends: stores its sums, rows `row` apart and aligned, or finishes them as bytes.
template <int R, int V>
PLANISH_INLINE void finish(__m256i (&acc)[R][V], int32_t* sums, int row) {
  simd::unroll<R>([&](auto r) __attribute__((always_inline)) {
    simd::unroll<V>([&](auto v) __attribute__((always_inline)) {
      _mm256_store_si256(reinterpret_cast<__m256i*>(sums + r * row + v * 8), acc[r][v]);
    });
  });
}
template <int R, int V>
PLANISH_INLINE void finish(__m256i (&acc)[R][V], const ByteTile& to, int) {
#ifndef __clang__  // for both see x86_avx512vnni.cpp
  // Ends the life of the loops' variables.
  simd::unroll<R>([&](auto r) __attribute__((always_inline)) {
    simd::unroll<V>([&](auto v) __attribute__((always_inline)) { asm("" : "+x"(acc[r][v])); });
  });
#endif
  const ByteRows rows_to(to);
  simd::unroll<R>([&](auto r) __attribute__((always_inline)) {
    __m256 x[V];
    simd::unroll<V>([&](auto v) __attribute__((always_inline)) { x[v] = rows_to.scaled(acc[r][v], v); });
    rows_to.store<V>(r, x);
  });
}

}  // namespace
}  // namespace planish::kernels
