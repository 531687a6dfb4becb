#pragma once

// The loops behind every instruction set; included by one file per instruction set and nothing else. They are left to
// the compiler's vectoriser: widening additions have the same form everywhere.

#include <cstdint>

#include "planish/base/macros.h"
#include "planish/kernels/cpu/byte_column_sums/byte_column_sums.h"

namespace planish::kernels {
namespace {

constexpr int kStrip = 64;
/// Bytes that a sum of 16 bits holds without overflow.
constexpr int64_t kRowsPerSum = 256;

/// N columns, or `columns` where N is 0.
template <int N>
PLANISH_INLINE void column_sums_strip(int64_t rows, int columns, int64_t row_stride, const uint8_t* x, bool is_signed,
                                      int32_t* sums) {
  const int count = N == 0 ? columns : N;
  int32_t total[kStrip] = {};
  // Flipping the sign bit adds 128 to signed bytes, which makes them unsigned.
  const auto flip = static_cast<uint8_t>(is_signed ? 0x80 : 0);
  for (int64_t first = 0; first < rows; first += kRowsPerSum) {
    const int64_t last = first + kRowsPerSum < rows ? first + kRowsPerSum : rows;
    uint16_t part[kStrip] = {};
    for (int64_t r = first; r < last; ++r) {
      const uint8_t* row = x + r * row_stride;
      for (int c = 0; c < count; ++c) part[c] = static_cast<uint16_t>(part[c] + static_cast<uint8_t>(row[c] ^ flip));
    }
    for (int c = 0; c < count; ++c) total[c] += part[c];
  }
  const auto less = static_cast<int32_t>(is_signed ? 128 * rows : 0);
  for (int c = 0; c < count; ++c) sums[c] = total[c] - less;
}

inline void byte_column_sums_generic(int64_t rows, int64_t columns, int64_t row_stride, const uint8_t* x,
                                     bool is_signed, int32_t* sums) {
  int64_t c = 0;
  for (; c + kStrip <= columns; c += kStrip)
    column_sums_strip<kStrip>(rows, kStrip, row_stride, x + c, is_signed, sums + c);
  if (columns - c >= kStrip / 2) {
    column_sums_strip<kStrip / 2>(rows, kStrip / 2, row_stride, x + c, is_signed, sums + c);
    c += kStrip / 2;
  }
  if (c < columns) column_sums_strip<0>(rows, static_cast<int>(columns - c), row_stride, x + c, is_signed, sums + c);
}

}  // namespace
}  // namespace planish::kernels
