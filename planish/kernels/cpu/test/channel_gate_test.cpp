#include "planish/kernels/cpu/channel_gate/channel_gate.h"

#include <vector>

#include <gtest/gtest.h>

namespace planish::kernels {
namespace {

/// Multiples of 1/8, so that all sums are exact.
std::vector<float> numbers(size_t n) {
  std::vector<float> out(n);
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<float>(static_cast<int>(i * 37 % 61) - 30) / 8.0F;
  return out;
}

TEST(ChannelGate, EveryVariantIsExact) {
  constexpr int64_t kStride = 50;
  constexpr float kUntouched = -77.0F;
  for (const ChannelGateKernel& k : channel_gate_kernels()) {
    if (!cpu_features().has(k.isa)) continue;
    for (const int64_t rows : {0, 1, 4, 7, 49})
      for (const int64_t columns : {1, 8, 15, 16, 33, 48}) {
        SCOPED_TRACE(testing::Message() << k.name << ", " << rows << " rows, " << columns << " columns");
        const auto x = numbers(static_cast<size_t>(rows * kStride + kStride));
        const auto factors = numbers(64);
        std::vector<float> sums(static_cast<size_t>(columns) + 1, 0.5F);
        std::vector<float> by_column(x.size(), kUntouched);
        std::vector<float> by_row(x.size(), kUntouched);
        k.add_columns(rows, columns, kStride, x.data(), sums.data());
        k.scale_columns(rows, columns, kStride, x.data(), factors.data(), by_column.data());
        k.scale_rows(rows, columns, x.data(), factors.data(), by_row.data());
        for (int64_t c = 0; c < kStride; ++c) {
          float sum = 0.5F;
          for (int64_t r = 0; r < rows; ++r) {
            const auto at = static_cast<size_t>(r * kStride + c);
            sum += x[at];
            ASSERT_EQ(by_column[at], c < columns ? x[at] * factors[static_cast<size_t>(c)] : kUntouched);
            if (c >= columns) continue;
            const auto packed = static_cast<size_t>(r * columns + c);
            ASSERT_EQ(by_row[packed], x[packed] * factors[static_cast<size_t>(r)]);
          }
          if (c < columns) {
            ASSERT_EQ(sums[static_cast<size_t>(c)], sum);
          }
        }
        ASSERT_EQ(sums.back(), 0.5F) << "wrote behind the end";
        ASSERT_EQ(by_row[static_cast<size_t>(rows * columns)], kUntouched) << "wrote behind the end";
      }
  }
}

}  // namespace
}  // namespace planish::kernels
