#include "planish/kernels/cpu/byte_column_sums/byte_column_sums.h"

#include <vector>

#include <gtest/gtest.h>

namespace planish::kernels {
namespace {

TEST(ByteColumnSums, EveryVariantIsExact) {
  constexpr size_t kStride = 150;
  for (const ByteColumnSumsKernel& k : byte_column_sums_kernels()) {
    if (!cpu_features().has(k.isa)) continue;
    for (const bool is_signed : {false, true})
      for (const size_t rows : {0U, 1U, 49U, 256U, 257U, 700U})
        for (const size_t columns : {1U, 31U, 32U, 64U, 100U, 144U}) {
          std::vector<uint8_t> x(rows * kStride);
          // Mostly the largest values, so that sums which are too narrow would overflow.
          for (size_t i = 0; i < x.size(); ++i)
            x[i] = i % 5 == 0 ? static_cast<uint8_t>(i * 29) : is_signed ? 127 : 255;
          std::vector<int32_t> sums(columns + 1, -7);
          k.fn(static_cast<int64_t>(rows), static_cast<int64_t>(columns), kStride, x.data(), is_signed, sums.data());
          for (size_t c = 0; c < columns; ++c) {
            int32_t expected = 0;
            for (size_t r = 0; r < rows; ++r) {
              const uint8_t byte = x[r * kStride + c];
              expected += is_signed ? static_cast<int8_t>(byte) : byte;
            }
            ASSERT_EQ(sums[c], expected) << k.name << " rows=" << rows << " column " << c << " of " << columns;
          }
          ASSERT_EQ(sums[columns], -7) << k.name << " wrote behind the end";
        }
  }
}

}  // namespace
}  // namespace planish::kernels
