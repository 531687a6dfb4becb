// Every variant of the depthwise convolutions of integers that this machine can run, against plain loops; sums bit by
// bit. The epilogue is that of the integer products and tested there.

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "planish/kernels/cpu/depthwise_int8/depthwise_int8.h"

namespace planish::kernels {
namespace {

struct Type {
  bool is_signed;
  bool never_negative;
  int32_t zero;
};

const Type kTypes[] = {{true, true, 0},    {true, true, 5},   {true, false, 0},
                       {true, false, -40}, {false, false, 0}, {false, false, 140}};

DepthwiseShape square(int64_t size, int64_t channels, int64_t kernel, int64_t stride, int64_t pad,
                      int64_t dilation = 1) {
  DepthwiseShape s;
  s.channels = channels;
  s.in_h = s.in_w = size;
  s.kernel_h = s.kernel_w = kernel;
  s.stride_h = s.stride_w = stride;
  s.dilation_h = s.dilation_w = dilation;
  s.pad_top = s.pad_left = pad;
  s.out_h = s.out_w = (size + 2 * pad - (kernel - 1) * dilation - 1) / stride + 1;
  return s;
}

class DepthwiseVariants : public testing::TestWithParam<const DepthwiseInt8Kernel*> {
 protected:
  void SetUp() override {
    if (!cpu_features().has(GetParam()->isa)) GTEST_SKIP() << "this CPU lacks " << isa_name(GetParam()->isa);
  }

  void check(const DepthwiseShape& s, const Type& t, bool extremes, uint32_t seed) {
    const DepthwiseInt8Kernel& k = *GetParam();
    ASSERT_TRUE(depthwise_fits(s, k));
    std::mt19937 random(seed);
    const int low = t.is_signed ? (t.never_negative ? 0 : -128) : 0;
    const int high = t.is_signed ? 127 : 255;
    const auto pick = [&](int from, int to) {
      if (extremes) return random() % 2 == 0 ? from : to;
      return from + static_cast<int>(random() % static_cast<uint32_t>(to - from + 1));
    };
    // Exactly the tensor's size, so that a sanitizer sees reads behind it.
    std::vector<uint8_t> x(static_cast<size_t>(s.images * s.in_h * s.in_w * s.channels));
    std::vector<int8_t> w(static_cast<size_t>(s.channels * s.kernel_h * s.kernel_w));
    for (uint8_t& v : x) v = static_cast<uint8_t>(pick(low, high));
    for (int8_t& v : w) v = static_cast<int8_t>(pick(-128, 127));
    std::vector<int8_t> packed(depthwise_packed_bytes(s, k.format));
    depthwise_pack(s, k.format, w.data(), packed.data());
    std::vector<int8_t> back(w.size());
    depthwise_unpack(s, k.format, packed.data(), back.data());
    ASSERT_EQ(back, w) << "unpack is not the inverse of pack";
    const DepthwisePlan plan =
        plan_depthwise_int8(s, k, t.is_signed, t.never_negative ? 0 : -128, t.zero, packed.data());
    const std::vector<float> ones(static_cast<size_t>(s.channels + kChannelPadding), 1.0F);
    const std::vector<float> zeros(ones.size(), 0.0F);
    const auto count = static_cast<size_t>(s.images * s.out_h * s.out_w * s.channels);
    std::vector<float> y(count + 16, 42.0F);
    QuantizedEpilogue e;
    e.scale = ones.data();
    e.bias = zeros.data();
    e.y_type = QuantizedType::f32;
    e.low = -INFINITY;
    e.high = INFINITY;
    e.y = y.data();
    e.y_row = s.channels;
    run_depthwise_int8(plan, x.data(), packed.data(), e);
    size_t at = 0;
    for (int64_t i = 0; i < s.images; ++i)
      for (int64_t p = 0; p < s.out_h; ++p)
        for (int64_t q = 0; q < s.out_w; ++q)
          for (int64_t c = 0; c < s.channels; ++c, ++at) ASSERT_EQ(y[at], expected(s, t, x, w, i, p, q, c)) << at;
    for (; at < y.size(); ++at) ASSERT_EQ(y[at], 42.0F) << "written behind the output";
  }

  static float expected(const DepthwiseShape& s, const Type& t, const std::vector<uint8_t>& x,
                        const std::vector<int8_t>& w, int64_t image, int64_t p, int64_t q, int64_t c) {
    int32_t sum = 0;
    for (int64_t r = 0; r < s.kernel_h; ++r)
      for (int64_t k = 0; k < s.kernel_w; ++k) {
        const int64_t line = p * s.stride_h - s.pad_top + r * s.dilation_h;
        const int64_t column = q * s.stride_w - s.pad_left + k * s.dilation_w;
        if (line < 0 || line >= s.in_h || column < 0 || column >= s.in_w) continue;
        const uint8_t byte = x[static_cast<size_t>(((image * s.in_h + line) * s.in_w + column) * s.channels + c)];
        const int32_t v = (t.is_signed ? static_cast<int8_t>(byte) : static_cast<int32_t>(byte)) - t.zero;
        sum += v * w[static_cast<size_t>((c * s.kernel_h + r) * s.kernel_w + k)];
      }
    return static_cast<float>(sum);
  }
};

TEST_P(DepthwiseVariants, SumsAreExact) {
  struct Case {
    const char* name;
    DepthwiseShape shape;
  };
  DepthwiseShape uneven = square(11, 37, 3, 2, 1);
  uneven.images = 2;
  uneven.in_w = 8;
  uneven.kernel_w = 5;
  uneven.stride_w = 1;
  uneven.pad_left = 3;
  uneven.out_w = 12;  // taps fall behind the image on the right
  const Case cases[] = {
      {"3x3", square(9, 64, 3, 1, 1)},           {"3x3_wide", square(14, 144, 3, 1, 1)},
      {"3x3_stride_2", square(13, 32, 3, 2, 1)}, {"5x5", square(8, 72, 5, 1, 2)},
      {"5x5_stride_2", square(9, 19, 5, 2, 2)},  {"7x7", square(7, 40, 7, 1, 3)},
      {"one_channel", square(6, 1, 3, 1, 1)},    {"one_pixel", square(1, 80, 3, 1, 1)},
      {"1x1", square(5, 20, 1, 1, 0)},           {"dilated", square(12, 33, 3, 1, 2, 2)},
      {"long_line", square(70, 8, 3, 1, 1)},     {"uneven", uneven},
  };
  uint32_t seed = 0;
  for (const Case& c : cases)
    for (const Type& t : kTypes) {
      if (!depthwise_is_exact(*GetParam(), t.never_negative ? 127 : 255)) continue;
      for (const bool extremes : {false, true}) {
        SCOPED_TRACE(std::string(c.name) + " signed " + std::to_string(t.is_signed) + " zero " +
                     std::to_string(t.zero) + " extremes " + std::to_string(extremes));
        ASSERT_NO_FATAL_FAILURE(check(c.shape, t, extremes, ++seed));
      }
    }
}

std::vector<const DepthwiseInt8Kernel*> rows() {
  std::vector<const DepthwiseInt8Kernel*> out;
  for (const DepthwiseInt8Kernel& k : depthwise_int8_kernels()) out.push_back(&k);
  return out;
}

INSTANTIATE_TEST_SUITE_P(Table, DepthwiseVariants, testing::ValuesIn(rows()),
                         [](const auto& row) { return std::string(row.param->name); });

TEST(DepthwiseTable, EndsWithARowForEveryMachineAndInput) {
  EXPECT_EQ(depthwise_int8_kernels().back().isa, Isa::baseline);
  EXPECT_TRUE(depthwise_is_exact(depthwise_int8_kernels().back(), 255));
}

TEST(DepthwiseTable, KnowsWindowsThatAreTooWide) {
  DepthwiseShape s = square(200, 8, 3, 1, 0, 90);
  EXPECT_FALSE(depthwise_fits(s, depthwise_int8_kernels().front()));
}

}  // namespace
}  // namespace planish::kernels
