#include "planish/kernels/cpu/byte_average_pool/byte_average_pool.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace planish::kernels {
namespace {

std::vector<float> expected(const ByteAveragePool& p, const std::vector<uint8_t>& x) {
  std::vector<float> y;
  const auto inside = [](int64_t at, int64_t end) { return at >= 0 && at < end; };
  for (int64_t i = 0; i < p.out_h; ++i)
    for (int64_t j = 0; j < p.out_w; ++j)
      for (int64_t c = 0; c < p.channels; ++c) {
        int64_t sum = 0;
        int64_t taps = 0;
        int64_t padded = 0;
        for (int64_t r = 0; r < p.kernel_h; ++r)
          for (int64_t s = 0; s < p.kernel_w; ++s) {
            const int64_t line = i * p.stride_h - p.pad_top + r * p.dilation_h;
            const int64_t column = j * p.stride_w - p.pad_left + s * p.dilation_w;
            padded += line < p.in_h + p.pad_bottom && column < p.in_w + p.pad_right ? 1 : 0;
            if (!inside(line, p.in_h) || !inside(column, p.in_w)) continue;
            const uint8_t value = x[static_cast<size_t>((line * p.in_w + column) * p.channels + c)];
            sum += (p.x_signed ? static_cast<int8_t>(value) : value) - p.x_zero;
            ++taps;
          }
        const int64_t count = std::max<int64_t>(p.count_pads ? padded : taps, 1);
        const float v = static_cast<float>(sum) * (p.factor / static_cast<float>(count));
        y.push_back(p.writes_floats ? v : std::nearbyint(std::clamp(v, p.low, p.high)) + static_cast<float>(p.y_zero));
      }
  return y;
}

std::vector<float> result(const ByteAveragePoolKernel& kernel, const ByteAveragePool& p, const std::vector<uint8_t>& x,
                          size_t size) {
  std::vector<float> floats(size);
  std::vector<uint8_t> bytes(size);
  kernel.fn(p, x.data(), p.writes_floats ? static_cast<void*>(floats.data()) : bytes.data(), 0, p.out_h);
  if (!p.writes_floats)
    std::ranges::transform(bytes, floats.begin(),
                           [&](uint8_t b) { return static_cast<float>(p.y_signed ? static_cast<int8_t>(b) : b); });
  return floats;
}

TEST(ByteAveragePool, EveryVariantFindsTheMean) {
  std::mt19937 random(3);
  const auto pick = [&random](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  for (int round = 0; round < 90; ++round) {
    ByteAveragePool p{.in_h = pick(1, 9), .in_w = pick(1, 9), .kernel_h = pick(1, 4), .kernel_w = pick(1, 4)};
    if (round % 8 == 7) {  // more than 16 bits hold
      p.in_h = p.in_w = 16;
      p.kernel_h = p.kernel_w = 13;
    }
    const int64_t kChannels[] = {1, 8, 15, 16, 33, 64, 100, 130, 192};
    p.channels = kChannels[round % 9];
    p.stride_h = pick(1, 3);
    p.stride_w = pick(1, 3);
    p.dilation_h = pick(1, 3);
    p.dilation_w = pick(1, 2);
    p.pad_top = pick(0, 3);
    p.pad_left = pick(0, 3);
    p.pad_bottom = pick(0, 3);
    p.pad_right = pick(0, 3);
    p.out_h = pick(1, 5);  // windows may reach beyond the image, and lie outside of it
    p.out_w = pick(1, 5);
    p.count_pads = pick(0, 1) != 0;
    p.writes_floats = pick(0, 2) == 0;
    p.x_signed = pick(0, 1) != 0;
    p.y_signed = pick(0, 1) != 0;
    p.x_zero = static_cast<int32_t>(p.x_signed ? pick(-128, 127) : pick(0, 255));
    p.y_zero = static_cast<int32_t>(p.y_signed ? pick(-128, 127) : pick(0, 255));
    p.low = static_cast<float>((p.y_signed ? -128 : 0) - p.y_zero);
    p.high = static_cast<float>((p.y_signed ? 127 : 255) - p.y_zero);
    p.factor = static_cast<float>(pick(1, 300)) / 100;
    std::vector<uint8_t> x(static_cast<size_t>(p.in_h * p.in_w * p.channels));
    for (uint8_t& v : x) v = static_cast<uint8_t>(round % 3 == 0 ? 255 : pick(0, 255));
    const std::vector<float> want = expected(p, x);
    for (const ByteAveragePoolKernel& k : byte_average_pool_kernels()) {
      if (!cpu_features().has(k.isa)) continue;
      ASSERT_EQ(result(k, p, x, want.size()), want)
          << k.name << ", round " << round << ", " << p.channels << " channels";
    }
  }
}

}  // namespace
}  // namespace planish::kernels
