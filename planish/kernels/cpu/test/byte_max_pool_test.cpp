#include "planish/kernels/cpu/byte_max_pool/byte_max_pool.h"

#include <algorithm>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace planish::kernels {
namespace {

std::vector<uint8_t> expected(const ByteMaxPool& p, const std::vector<uint8_t>& x) {
  std::vector<uint8_t> y;
  for (int64_t i = 0; i < p.out_h; ++i)
    for (int64_t j = 0; j < p.out_w; ++j)
      for (int64_t c = 0; c < p.channels; ++c) {
        int most = p.is_signed ? -128 : 0;
        for (int64_t r = 0; r < p.kernel_h; ++r)
          for (int64_t s = 0; s < p.kernel_w; ++s) {
            const int64_t line = i * p.stride_h - p.pad_top + r * p.dilation_h;
            const int64_t column = j * p.stride_w - p.pad_left + s * p.dilation_w;
            if (line < 0 || line >= p.in_h || column < 0 || column >= p.in_w) continue;
            const uint8_t value = x[static_cast<size_t>((line * p.in_w + column) * p.channels + c)];
            most = std::max<int>(most, p.is_signed ? static_cast<int8_t>(value) : value);
          }
        y.push_back(static_cast<uint8_t>(most));
      }
  return y;
}

TEST(ByteMaxPool, EveryVariantFindsTheLargest) {
  std::mt19937 random(3);
  const auto pick = [&random](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  for (int round = 0; round < 60; ++round) {
    ByteMaxPool p{.in_h = pick(1, 9), .in_w = pick(1, 9), .kernel_h = pick(1, 4), .kernel_w = pick(1, 4)};
    const int64_t kChannels[] = {1, 15, 16, 31, 32, 33, 64, 100, 130};
    p.channels = kChannels[round % 9];
    p.stride_h = pick(1, 3);
    p.stride_w = pick(1, 3);
    p.dilation_h = pick(1, 3);
    p.dilation_w = pick(1, 2);
    p.pad_top = pick(0, 3);
    p.pad_left = pick(0, 3);
    p.out_h = pick(1, 5);  // windows may reach beyond the image, and lie outside of it
    p.out_w = pick(1, 5);
    p.is_signed = round % 2 == 0;
    std::vector<uint8_t> x(static_cast<size_t>(p.in_h * p.in_w * p.channels));
    for (uint8_t& v : x) v = static_cast<uint8_t>(pick(0, 255));
    const std::vector<uint8_t> want = expected(p, x);
    for (const ByteMaxPoolKernel& k : byte_max_pool_kernels()) {
      if (!cpu_features().has(k.isa)) continue;
      std::vector<uint8_t> y(want.size());
      k.fn(p, x.data(), y.data(), 0, p.out_h);
      ASSERT_EQ(y, want) << k.name << ", round " << round << ", " << p.channels << " channels";
    }
  }
}

}  // namespace
}  // namespace planish::kernels
