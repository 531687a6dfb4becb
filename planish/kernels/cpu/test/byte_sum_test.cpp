#include "planish/kernels/cpu/byte_sum/byte_sum.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace planish::kernels {
namespace {

int value(uint8_t byte, bool is_signed) { return is_signed ? static_cast<int8_t>(byte) : byte; }

TEST(ByteSum, EveryVariantRoundsOnceAndWritesExactlyN) {
  constexpr size_t kGuard = 5;
  for (const ByteSumKernel& k : byte_sum_kernels()) {
    if (!cpu_features().has(k.isa)) continue;
    for (int types = 0; types < 8; ++types) {
      for (const size_t n : {0U, 1U, 7U, 16U, 31U, 64U, 200U, 257U}) {
        ByteSum s{.a_factor = 0.5F, .b_factor = -0.37F, .offset = 1.25F};
        s.a_signed = (types & 1) != 0;
        s.b_signed = (types & 2) != 0;
        s.y_signed = (types & 4) != 0;
        s.zero = s.y_signed ? -3 : 40;
        s.low = static_cast<float>((s.y_signed ? -128 : 0) - s.zero);
        s.high = static_cast<float>((s.y_signed ? 127 : 255) - s.zero);
        std::vector<uint8_t> a(n);
        std::vector<uint8_t> b(n);
        std::vector<uint8_t> y(n + kGuard, 0x5a);
        for (size_t i = 0; i < n; ++i) {
          a[i] = static_cast<uint8_t>(i * 37 + 11);
          b[i] = static_cast<uint8_t>(i * 91 + 3);
        }
        k.fn(s, static_cast<int64_t>(n), a.data(), b.data(), y.data());
        for (size_t i = 0; i < n; ++i) {
          const double sum = value(a[i], s.a_signed) * 0.5 + value(b[i], s.b_signed) * double{-0.37F} + 1.25;
          const double clamped = std::clamp(sum, double{s.low}, double{s.high});
          // On the edge of a step float may round to the other side.
          constexpr double kEdge = 0.5 + 1e-4;
          ASSERT_LE(std::fabs(value(y[i], s.y_signed) - s.zero - clamped), kEdge)
              << k.name << " n=" << n << " at " << i;
        }
        for (size_t i = n; i < y.size(); ++i) ASSERT_EQ(y[i], 0x5a) << k.name << " wrote behind the end";
      }
    }
  }
}

}  // namespace
}  // namespace planish::kernels
