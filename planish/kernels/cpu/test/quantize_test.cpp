#include "planish/kernels/cpu/quantize/quantize.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace planish::kernels {
namespace {

TEST(Quantize, EveryVariantRoundsAndSaturates) {
  constexpr size_t kGuard = 5;
  for (const QuantizeKernel& k : quantize_kernels()) {
    if (!cpu_features().has(k.isa)) continue;
    for (const bool is_signed : {false, true})
      for (const size_t n : {0U, 1U, 7U, 16U, 63U, 64U, 200U, 257U}) {
        Quantization q{.factor = 1.0F / 0.3F, .zero = is_signed ? -3 : 40, .is_signed = is_signed};
        q.low = static_cast<float>((is_signed ? -128 : 0) - q.zero);
        q.high = static_cast<float>((is_signed ? 127 : 255) - q.zero);
        std::vector<float> x(n);
        for (size_t i = 0; i < n; ++i) x[i] = static_cast<float>(i * 7919 % 1000) * 0.17F - 70.0F;
        if (n > 2) x[2] = std::numeric_limits<float>::quiet_NaN();
        if (n > 60) x[40] = std::numeric_limits<float>::infinity();
        if (n > 60) x[60] = -3e38F;
        std::vector<uint8_t> y(n + kGuard, 0x5a);
        k.fn(q, static_cast<int64_t>(n), x.data(), y.data());
        for (size_t i = 0; i < n; ++i) {
          const double real = std::isnan(x[i]) ? 0.0 : x[i] * double{q.factor};
          const double expected = std::clamp(real, double{q.low}, double{q.high}) + q.zero;
          const int got = is_signed ? static_cast<int8_t>(y[i]) : y[i];
          ASSERT_LE(std::fabs(got - expected), 0.5 + 1e-4) << k.name << " n=" << n << " at " << i;
        }
        for (size_t i = n; i < y.size(); ++i) ASSERT_EQ(y[i], 0x5a) << k.name << " wrote behind the end";
      }
  }
}

TEST(Quantize, PixelsAreThePlanesSideBySide) {
  constexpr size_t kGuard = 5;
  const Quantization q{.factor = 50, .low = -30, .high = 225, .zero = 30};
  for (const QuantizeKernel& k : quantize_kernels()) {
    if (!cpu_features().has(k.isa)) continue;
    for (const size_t n : {0U, 1U, 15U, 16U, 100U, 512U, 1234U}) {
      const size_t plane = n + 3;
      std::vector<float> x(3 * plane);
      for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 7919 % 1000) * 0.006F - 1.0F;
      std::vector<uint8_t> planes(3 * plane);
      k.fn(q, static_cast<int64_t>(x.size()), x.data(), planes.data());
      std::vector<uint8_t> y(3 * n + kGuard, 0x5a);
      k.pixels(q, static_cast<int64_t>(n), x.data(), static_cast<int64_t>(plane), y.data());
      for (size_t i = 0; i < 3 * n; ++i)
        ASSERT_EQ(y[i], planes[i % 3 * plane + i / 3]) << k.name << " n=" << n << " at " << i;
      for (size_t i = 3 * n; i < y.size(); ++i) ASSERT_EQ(y[i], 0x5a) << k.name << " wrote behind the end";
    }
  }
}

}  // namespace
}  // namespace planish::kernels
