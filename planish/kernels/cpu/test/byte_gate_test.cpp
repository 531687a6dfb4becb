#include "planish/kernels/cpu/byte_gate/byte_gate.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace planish::kernels {
namespace {

int value(uint8_t byte, bool is_signed) { return is_signed ? static_cast<int8_t>(byte) : byte; }

TEST(ByteGate, EveryVariantMultipliesEachChannel) {
  constexpr size_t kRows = 3;
  constexpr size_t kGuard = 5;
  for (const ByteGateKernel& k : byte_gate_kernels()) {
    if (!cpu_features().has(k.isa)) continue;
    for (int types = 0; types < 4; ++types)
      for (const size_t channels : {1U, 7U, 16U, 40U, 64U, 200U}) {
        ByteGate g{.channels = static_cast<int64_t>(channels), .x_zero = 3};
        g.x_signed = (types & 1) != 0;
        g.y_signed = (types & 2) != 0;
        g.zero = g.y_signed ? -3 : 40;
        g.low = static_cast<float>((g.y_signed ? -128 : 0) - g.zero);
        g.high = static_cast<float>((g.y_signed ? 127 : 255) - g.zero);
        std::vector<uint8_t> x(kRows * channels);
        std::vector<float> factors(channels);
        std::vector<uint8_t> y(x.size() + kGuard, 0x5a);
        for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint8_t>(i * 37 + 11);
        for (size_t c = 0; c < channels; ++c) factors[c] = static_cast<float>(c % 11) * 0.13F;
        k.fn(g, kRows, x.data(), factors.data(), y.data());
        for (size_t i = 0; i < x.size(); ++i) {
          const double real = (value(x[i], g.x_signed) - 3) * double{factors[i % channels]};
          const double expected = std::clamp(real, double{g.low}, double{g.high}) + g.zero;
          ASSERT_LE(std::fabs(value(y[i], g.y_signed) - expected), 0.5 + 1e-4) << k.name << " at " << i;
        }
        for (size_t i = x.size(); i < y.size(); ++i) ASSERT_EQ(y[i], 0x5a) << k.name << " wrote behind the end";
      }
  }
}

}  // namespace
}  // namespace planish::kernels
