// Every row of the table that this machine can run, against three plain convolutions. Scales are powers of two, so that
// all arithmetic is exact and bytes must be equal.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "planish/kernels/cpu/inverted_residual_int8/inverted_residual_int8.h"

namespace planish::kernels {
namespace {

/// Geometry of one convolution over [h][w][channels].
struct Conv {
  int64_t kernel = 1;
  int64_t stride = 1;
  int64_t pad = 0;
};

struct Layer {
  std::vector<int8_t> w;  ///< [outputs][channels per group][kernel][kernel]
  std::vector<float> scale;
  std::vector<float> bias;
  QuantizedEpilogue e;
};

struct Case {
  const char* name;
  int64_t images, in_h, in_w, channels, hidden, outputs;
  Conv expand;
  Conv depthwise;
  bool residual = false;
};

const Case kCases[] = {
    {"one_pixel", 1, 1, 1, 4, 16, 8, {}, {3, 1, 1}},
    {"three_by_three", 1, 9, 11, 8, 48, 24, {}, {3, 1, 1}, true},
    {"stride_two", 1, 14, 13, 16, 96, 24, {}, {3, 2, 1}},
    {"stride_two_even_without_padding", 1, 12, 12, 16, 40, 70, {}, {3, 2, 0}},
    {"five_by_five", 1, 10, 17, 12, 72, 20, {}, {5, 1, 2}, true},
    {"five_by_five_stride_two", 2, 15, 15, 5, 33, 65, {}, {5, 2, 2}},
    {"first_layers", 1, 31, 33, 3, 32, 16, {3, 2, 1}, {3, 1, 1}},
    {"seven_by_seven", 1, 7, 7, 20, 150, 200, {}, {3, 1, 1}, true},
    {"images", 3, 6, 5, 8, 64, 8, {}, {3, 1, 1}, true},
    {"odd_channels", 1, 8, 8, 7, 21, 9, {}, {3, 1, 1}, true},
};

int64_t out_of(int64_t in, const Conv& c) { return (in + 2 * c.pad - c.kernel) / c.stride + 1; }

/// The values that bytes stand for, less the zero point.
std::vector<int32_t> centred(const std::vector<uint8_t>& bytes, bool is_signed, int32_t zero) {
  std::vector<int32_t> out;
  for (const uint8_t b : bytes) out.push_back((is_signed ? static_cast<int8_t>(b) : int32_t{b}) - zero);
  return out;
}

struct Image {
  int64_t h, w, channels;
};

std::vector<uint8_t> convolve(const std::vector<int32_t>& x, const Image& in, const Image& out, const Conv& c,
                              bool depthwise, int64_t images, const Layer& layer,
                              const std::vector<int32_t>* residual) {
  std::vector<uint8_t> y;
  const int64_t per_group = depthwise ? 1 : in.channels;
  for (int64_t i = 0; i < images; ++i)
    for (int64_t p = 0; p < out.h; ++p)
      for (int64_t q = 0; q < out.w; ++q)
        for (int64_t k = 0; k < out.channels; ++k) {
          int64_t sum = 0;
          for (int64_t r = 0; r < c.kernel; ++r)
            for (int64_t s = 0; s < c.kernel; ++s) {
              const int64_t line = p * c.stride - c.pad + r;
              const int64_t column = q * c.stride - c.pad + s;
              if (line < 0 || line >= in.h || column < 0 || column >= in.w) continue;
              for (int64_t n = 0; n < per_group; ++n) {
                const int64_t at = ((i * in.h + line) * in.w + column) * in.channels + (depthwise ? k : n);
                const int64_t w = ((k * per_group + n) * c.kernel + r) * c.kernel + s;
                sum += int64_t{x[static_cast<size_t>(at)]} * layer.w[static_cast<size_t>(w)];
              }
            }
          double v =
              static_cast<double>(sum) * layer.scale[static_cast<size_t>(k)] + layer.bias[static_cast<size_t>(k)];
          if (residual != nullptr) v += (*residual)[y.size()] * 0.5;
          const QuantizedEpilogue& e = layer.e;
          const double rounded = std::nearbyint(std::clamp<double>(v, e.low, e.high)) + e.y_zero;
          y.push_back(static_cast<uint8_t>(static_cast<int>(rounded)));
        }
  return y;
}

/// Weights are -128..127, or -largest..largest.
Layer make_layer(int64_t outputs, int64_t inner, bool is_signed, int32_t zero, bool relu, int largest,
                 std::mt19937& random) {
  Layer l;
  const int least = std::max(-128, -largest);
  const auto count = static_cast<unsigned>(std::min(127, largest) - least + 1);
  for (int64_t i = 0; i < outputs * inner; ++i)
    l.w.push_back(static_cast<int8_t>(static_cast<int>(random() % count) + least));
  l.scale.assign(static_cast<size_t>(outputs + kChannelPadding), 0.0F);
  l.bias = l.scale;
  // Sums are of about this size.
  const auto size = 127.0 * 74.0 * std::sqrt(static_cast<double>(inner));
  for (int64_t k = 0; k < outputs; ++k) {
    l.scale[static_cast<size_t>(k)] = static_cast<float>(std::exp2(std::floor(std::log2(100.0 / size)) + random() % 2));
    l.bias[static_cast<size_t>(k)] = static_cast<float>(random() % 32) - 16;
  }
  QuantizedEpilogue& e = l.e;
  e.y_type = is_signed ? QuantizedType::i8 : QuantizedType::u8;
  e.y_zero = zero;
  e.low = relu ? 0.0F : static_cast<float>((is_signed ? -128 : 0) - zero);
  e.high = static_cast<float>((is_signed ? 127 : 255) - zero);
  e.within_32_bits = true;
  return l;
}

class InvertedResidual : public testing::TestWithParam<const InvertedResidualKernel*> {};

/// `variant`: bit 0: x signed, bit 1: images between signed, bit 2: threads share channels, bit 3: the first weights
/// are small enough for x to be moved up to u8.
void check(const InvertedResidualKernel& kernel, const Case& c, int variant, int threads) {
  SCOPED_TRACE(std::string(c.name) + ", variant " + std::to_string(variant) + ", threads " + std::to_string(threads));
  std::mt19937 random(7);
  const bool x_signed = (variant & 1) != 0;
  const bool between_signed = (variant & 2) != 0;
  const Image in{c.in_h, c.in_w, c.channels};
  const Image hidden{out_of(c.in_h, c.expand), out_of(c.in_w, c.expand), c.hidden};
  const Image second{out_of(hidden.h, c.depthwise), out_of(hidden.w, c.depthwise), c.hidden};
  const Image out{second.h, second.w, c.outputs};

  InvertedResidualShape s;
  IgemmShape& e = s.expand;
  e.images = c.images;
  e.in_h = in.h;
  e.in_w = in.w;
  e.out_h = hidden.h;
  e.out_w = hidden.w;
  e.channels = c.channels;
  e.outputs = c.hidden;
  e.kernel_h = e.kernel_w = c.expand.kernel;
  e.stride_h = e.stride_w = c.expand.stride;
  e.pad_top = e.pad_left = c.expand.pad;
  DepthwiseShape& d = s.depthwise;
  d.images = c.images;
  d.channels = c.hidden;
  d.in_h = hidden.h;
  d.in_w = hidden.w;
  d.out_h = second.h;
  d.out_w = second.w;
  d.kernel_h = d.kernel_w = c.depthwise.kernel;
  d.stride_h = d.stride_w = c.depthwise.stride;
  d.pad_top = d.pad_left = c.depthwise.pad;
  s.outputs = c.outputs;
  ASSERT_TRUE(inverted_residual_fits(s));

  InvertedResidualTypes types;
  types.x.is_signed = x_signed;
  types.x.zero = x_signed ? -3 : 9;
  types.first_signed = types.second_signed = between_signed;
  types.first_zero = between_signed ? -100 : 5;
  types.second_zero = between_signed ? -128 : 0;
  // The largest weights that the row is exact for.
  const int largest = kernel.pair_limit == 0 ? 128 : 64;
  const int largest_first = x_signed && kernel.takes_signed && (variant & 8) == 0 ? 127 : largest;
  Layer expand = make_layer(c.hidden, c.channels * e.kernel_h * e.kernel_w, between_signed, types.first_zero, true,
                            largest_first, random);
  Layer depthwise = make_layer(c.hidden, d.kernel_h * d.kernel_w, between_signed, types.second_zero, (variant & 1) != 0,
                               largest, random);
  Layer last = make_layer(c.outputs, c.hidden, true, 4, false, largest, random);

  std::vector<uint8_t> x(static_cast<size_t>(c.images * in.h * in.w * in.channels));
  for (uint8_t& b : x) b = static_cast<uint8_t>(random());
  std::vector<uint8_t> r(static_cast<size_t>(c.images * out.h * out.w * out.channels));
  for (uint8_t& b : r) b = static_cast<uint8_t>(random());
  const auto first_bytes =
      convolve(centred(x, x_signed, types.x.zero), in, hidden, c.expand, false, c.images, expand, nullptr);
  const auto second_bytes = convolve(centred(first_bytes, between_signed, types.first_zero), hidden, second,
                                     c.depthwise, true, c.images, depthwise, nullptr);
  const auto residual = centred(r, true, 2);
  const auto expected = convolve(centred(second_bytes, between_signed, types.second_zero), second, out, {}, false,
                                 c.images, last, c.residual ? &residual : nullptr);

  std::vector<int8_t> expand_packed(igemm_packed_bytes(e, kernel.expand_format));
  igemm_pack(e, kernel.expand_format, expand.w.data(), expand_packed.data());
  const IgemmShape p = project_shape(s);
  std::vector<int8_t> project_packed(igemm_packed_bytes(p, kernel.project_format));
  igemm_pack(p, kernel.project_format, last.w.data(), project_packed.data());
  const auto split = (variant & 4) != 0 ? InvertedResidualSplit::channels : InvertedResidualSplit::lines;
  const InvertedResidualWeights weights{expand_packed.data(), depthwise.w.data(), project_packed.data()};
  ASSERT_TRUE(inverted_residual_is_exact(kernel, s, types, weights));
  const InvertedResidualPlan plan = plan_inverted_residual(s, kernel, types, weights, threads, split);
  constexpr uint8_t kGuard = 0xa5;
  std::vector<uint8_t> y(expected.size() + 64, kGuard);
  for (Layer* l : {&expand, &depthwise, &last}) {
    l->e.scale = l->scale.data();
    l->e.bias = l->bias.data();
  }
  last.e.y = y.data();
  last.e.y_row = c.outputs;
  if (c.residual) {
    last.e.r_type = QuantizedType::i8;
    last.e.r = r.data();
    last.e.r_scale = 0.5F;
    last.e.r_offset = -1.0F;
  }
  std::vector<uint8_t> scratch(plan.scratch_bytes() + 128, kGuard);
  void* aligned = scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64);
  run_inverted_residual(plan, x.data(), expand_packed.data(), project_packed.data(), {expand.e, depthwise.e, last.e},
                        aligned);
  for (size_t i = 0; i < expected.size(); ++i) ASSERT_EQ(y[i], expected[i]) << "element " << i;
  for (size_t i = expected.size(); i < y.size(); ++i) ASSERT_EQ(y[i], kGuard) << "behind the output";
  const size_t used = plan.scratch_bytes() + static_cast<size_t>(static_cast<uint8_t*>(aligned) - scratch.data());
  for (size_t i = used; i < scratch.size(); ++i) ASSERT_EQ(scratch[i], kGuard) << "behind the scratch memory";
}

TEST_P(InvertedResidual, IsThreeConvolutions) {
  if (!cpu_features().has(GetParam()->isa)) GTEST_SKIP() << "this CPU lacks " << isa_name(GetParam()->isa);
  for (const Case& c : kCases)
    for (int variant = 0; variant < (GetParam()->takes_signed ? 16 : 8); ++variant)
      for (const int threads : {1, 2, 3}) ASSERT_NO_FATAL_FAILURE(check(*GetParam(), c, variant, threads));
}

std::vector<const InvertedResidualKernel*> all_kernels() {
  std::vector<const InvertedResidualKernel*> out;
  for (const InvertedResidualKernel& k : inverted_residual_kernels()) out.push_back(&k);
  return out;
}
INSTANTIATE_TEST_SUITE_P(Table, InvertedResidual, testing::ValuesIn(all_kernels()),
                         [](const auto& row) { return std::string(row.param->name); });

/// One weight at a time is made too large for sums of two products in 16 bits.
TEST_P(InvertedResidual, RefusesWeightsThatItsSumsDoNotHold) {
  InvertedResidualShape s;
  s.expand.channels = 4;
  s.expand.outputs = s.depthwise.channels = 8;
  s.depthwise.kernel_h = s.depthwise.kernel_w = 3;
  s.outputs = 8;
  const InvertedResidualKernel& k = *GetParam();
  const auto is_exact = [&](bool x_signed, int8_t expand, int8_t depthwise, int8_t project, int8_t beside = 64) {
    InvertedResidualTypes types;
    types.x.is_signed = x_signed;
    std::vector<int8_t> w(32, 64), d(72, 64), p(64, 64);
    w[4] = beside;
    w[5] = expand;
    d[3] = depthwise;
    p[63] = project;
    std::vector<int8_t> w_packed(igemm_packed_bytes(s.expand, k.expand_format));
    igemm_pack(s.expand, k.expand_format, w.data(), w_packed.data());
    std::vector<int8_t> p_packed(igemm_packed_bytes(project_shape(s), k.project_format));
    igemm_pack(project_shape(s), k.project_format, p.data(), p_packed.data());
    return inverted_residual_is_exact(k, s, types, {w_packed.data(), d.data(), p_packed.data()});
  };
  const bool takes_all = k.pair_limit == 0;
  for (const bool x_signed : {false, true}) {
    EXPECT_TRUE(is_exact(x_signed, 64, 64, 64));
    EXPECT_TRUE(is_exact(x_signed, -127, -127, -127)) << "signs that differ do not add up";
    EXPECT_EQ(is_exact(x_signed, 65, 64, 64), takes_all || (x_signed && k.takes_signed));
    EXPECT_TRUE(is_exact(x_signed, -128, 64, 64)) << "alone";
    EXPECT_EQ(is_exact(x_signed, -128, 64, 64, -1), takes_all) << "-128 has no counterpart";
    EXPECT_EQ(is_exact(x_signed, 64, 65, 64), takes_all);
    EXPECT_EQ(is_exact(x_signed, 64, 64, 65), takes_all);
  }
}

TEST(InvertedResidualShape, TakesOnlyWindowsThatItHasLoopsFor) {
  InvertedResidualShape s;
  s.depthwise.kernel_h = s.depthwise.kernel_w = 3;
  EXPECT_TRUE(inverted_residual_fits(s));
  s.depthwise.dilation_w = 2;
  EXPECT_FALSE(inverted_residual_fits(s));
  s.depthwise.dilation_w = 1;
  s.depthwise.kernel_w = 7;
  EXPECT_FALSE(inverted_residual_fits(s));
  s.depthwise.kernel_w = 5;
  s.depthwise.stride_w = 3;
  EXPECT_FALSE(inverted_residual_fits(s));
}

}  // namespace
}  // namespace planish::kernels
