// Every variant of the integer products that this machine can run, against plain integer loops. Sums are compared bit
// by bit (written as f32 with scale 1), the epilogue within one rounding step.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "planish/kernels/cpu/igemm/igemm.h"

namespace planish::kernels {
namespace {

struct Case {
  const char* name;
  IgemmShape shape;
};

IgemmShape matmul(int64_t m, int64_t n, int64_t k) {
  IgemmShape s;
  s.in_h = s.out_h = m;
  s.channels = k;
  s.outputs = n;
  return s;
}

/// Square input of `size`, K filters of `kernel` taps.
IgemmShape conv(int64_t size, int64_t channels, int64_t outputs, int64_t kernel, int64_t stride, int64_t pad,
                int64_t dilation = 1, int64_t groups = 1) {
  IgemmShape s;
  s.in_h = s.in_w = size;
  s.channels = channels;
  s.outputs = outputs;
  s.groups = groups;
  s.kernel_h = s.kernel_w = kernel;
  s.stride_h = s.stride_w = stride;
  s.dilation_h = s.dilation_w = dilation;
  s.pad_top = s.pad_left = pad;
  s.out_h = s.out_w = (size + 2 * pad - (kernel - 1) * dilation - 1) / stride + 1;
  return s;
}

IgemmShape uneven() {
  IgemmShape s = conv(13, 6, 35, 3, 1, 0);
  s.images = 3;
  s.in_w = 10;
  s.kernel_h = 2;
  s.stride_h = 2;
  s.dilation_w = 2;
  s.pad_left = 3;
  s.out_h = 6;
  s.out_w = 11;  // taps fall behind the image on the right
  return s;
}

IgemmShape batch_of_1x1() {
  IgemmShape s = conv(7, 96, 40, 1, 1, 0);
  s.images = 3;
  return s;
}

const Case kCases[] = {
    {"matmul_1x1x1", matmul(1, 1, 1)},
    {"matmul_one_row", matmul(1, 100, 64)},
    {"matmul_odd", matmul(13, 67, 29)},
    {"matmul_k_not_multiple_of_4", matmul(7, 33, 1021)},
    {"matmul_many_rows", matmul(301, 48, 36)},
    {"matmul_whole_tiles", matmul(32, 64, 128)},
    {"matmul_in_depths", matmul(171, 70, 1088)},
    {"matmul_short_steps", matmul(17, 33, 1020)},
    {"conv_1x1_batch", batch_of_1x1()},
    {"conv_1x1_image_of_one_pixel", conv(1, 20, 33, 1, 1, 0)},
    {"conv_1x1_stride_2", conv(9, 16, 40, 1, 2, 0)},
    {"conv_3x3", conv(9, 8, 70, 3, 1, 1)},
    {"conv_3x3_stride_2_odd_channels", conv(10, 5, 17, 3, 2, 1)},
    {"conv_3x3_valid", conv(8, 12, 24, 3, 1, 0)},
    {"conv_3x3_on_one_pixel", conv(1, 32, 64, 3, 1, 1)},
    {"conv_7x7_three_channels", conv(14, 3, 64, 7, 2, 3)},
    {"conv_dilated", conv(11, 7, 19, 3, 1, 2, 2)},
    {"conv_grouped", conv(6, 6, 10, 3, 1, 1, 1, 3)},
    {"conv_grouped_narrow", conv(7, 3, 2, 3, 2, 1, 1, 5)},
    {"conv_uneven_batch", uneven()},
    {"conv_wide", conv(9, 40, 130, 3, 1, 1)},
};

const IgemmInputType kTypes[] = {{true, true, 0},    {true, true, 3},   {true, false, 0},
                                 {true, false, -17}, {false, false, 0}, {false, false, 131}};

enum class Fill { random, low, high, alternating };

int32_t tap_value(const IgemmShape& s, const IgemmInputType& t, const std::vector<uint8_t>& x, int64_t image, int64_t y,
                  int64_t col, int64_t channel) {
  if (y < 0 || y >= s.in_h || col < 0 || col >= s.in_w) return 0;
  const auto byte = x[static_cast<size_t>(((image * s.in_h + y) * s.in_w + col) * s.groups * s.channels + channel)];
  return (t.is_signed ? static_cast<int8_t>(byte) : static_cast<int32_t>(byte)) - t.zero;
}

std::vector<int32_t> expected_sums(const IgemmShape& s, const IgemmInputType& t, const std::vector<uint8_t>& x,
                                   const std::vector<int8_t>& w) {
  std::vector<int32_t> out;
  for (int64_t i = 0; i < s.images; ++i)
    for (int64_t p = 0; p < s.out_h; ++p)
      for (int64_t q = 0; q < s.out_w; ++q)
        for (int64_t k = 0; k < s.groups * s.outputs; ++k) {
          int32_t sum = 0;
          for (int64_t c = 0; c < s.channels; ++c)
            for (int64_t r = 0; r < s.kernel_h; ++r)
              for (int64_t u = 0; u < s.kernel_w; ++u) {
                const int32_t v =
                    tap_value(s, t, x, i, p * s.stride_h - s.pad_top + r * s.dilation_h,
                              q * s.stride_w - s.pad_left + u * s.dilation_w, k / s.outputs * s.channels + c);
                sum += v * w[static_cast<size_t>(((k * s.channels + c) * s.kernel_h + r) * s.kernel_w + u)];
              }
          out.push_back(sum);
        }
  return out;
}

struct Data {
  std::vector<uint8_t> x;
  std::vector<int8_t> w;
};

Data make_data(const IgemmShape& s, const IgemmInputType& t, Fill fill, uint32_t seed) {
  std::mt19937 random(seed);
  const int low = t.is_signed ? (t.never_negative ? 0 : -128) : 0;
  const int high = t.is_signed ? 127 : 255;
  Data d;
  d.x.resize(static_cast<size_t>(s.images * s.in_h * s.in_w * s.groups * s.channels));
  d.w.resize(static_cast<size_t>(s.weights()));
  const auto pick = [&](size_t i, int from, int to) {
    switch (fill) {
      case Fill::low: return from;
      case Fill::high: return to;
      case Fill::alternating: return i % 2 == 0 ? from : to;
      case Fill::random: break;
    }
    return from + static_cast<int>(random() % static_cast<uint32_t>(to - from + 1));
  };
  for (size_t i = 0; i < d.x.size(); ++i) d.x[i] = static_cast<uint8_t>(pick(i, low, high));
  // The alternating input meets weights of the other parity, so that both signs of the largest products occur.
  for (size_t i = 0; i < d.w.size(); ++i) d.w[i] = static_cast<int8_t>(pick(i + (random() % 7 == 0), -128, 127));
  return d;
}

class IgemmVariants : public testing::TestWithParam<const IgemmKernel*> {
 protected:
  void SetUp() override {
    if (!cpu_features().has(GetParam()->isa)) GTEST_SKIP() << "this CPU lacks " << isa_name(GetParam()->isa);
  }

  /// Runs the variant and checks that nothing is written behind y.
  template <typename Y>
  std::vector<Y> run(const IgemmShape& s, const IgemmInputType& t, const Data& d, QuantizedEpilogue e, int threads) {
    const IgemmKernel& k = *GetParam();
    std::vector<int8_t> packed(igemm_packed_bytes(s, k.format));
    igemm_pack(s, k.format, d.w.data(), packed.data());
    std::vector<int8_t> back(d.w.size());
    igemm_unpack(s, k.format, packed.data(), back.data());
    EXPECT_EQ(back, d.w) << "unpack is not the inverse of pack";
    const IgemmPlan plan = plan_igemm(s, k, t, packed.data(), threads);
    const auto count = static_cast<size_t>(s.images * s.out_h * s.out_w * s.groups * s.outputs);
    std::vector<Y> y(count + 64, Y{42});
    std::vector<uint8_t> scratch(plan.scratch_bytes() + 64, 0xee);
    e.y = y.data();
    e.y_row = s.groups * s.outputs;
    run_igemm(plan, d.x.data(), packed.data(), e, scratch.data());
    for (size_t i = count; i < y.size(); ++i) EXPECT_EQ(y[i], Y{42}) << "written behind the output";
    y.resize(count);
    return y;
  }

  static bool takes(const IgemmShape& s, const IgemmInputType& t) {
    return igemm_takes(*GetParam(), s) && igemm_is_exact(*GetParam(), t.never_negative ? 127 : 255);
  }
  /// A shape that the variant takes: the window's if it can.
  static IgemmShape any_shape(const IgemmShape& window) {
    return igemm_takes(*GetParam(), window) ? window : matmul(81, window.outputs, 64);
  }
};

QuantizedEpilogue exact_epilogue(const std::vector<float>& ones, const std::vector<float>& zeros) {
  QuantizedEpilogue e;
  e.scale = ones.data();
  e.bias = zeros.data();
  e.y_type = QuantizedType::f32;
  e.low = -INFINITY;
  e.high = INFINITY;
  return e;
}

TEST_P(IgemmVariants, SumsAreExact) {
  const std::vector<float> ones(1024, 1.0F);
  const std::vector<float> zeros(1024, 0.0F);
  // The plain loops are slow: what they gave serves all variants.
  static std::map<uint32_t, std::vector<int32_t>> known;
  uint32_t seed = 0;
  for (const Case& c : kCases)
    for (const IgemmInputType& t : kTypes)
      for (const Fill fill : {Fill::random, Fill::low, Fill::high, Fill::alternating}) {
        ++seed;
        if (!takes(c.shape, t)) continue;
        SCOPED_TRACE(std::string(c.name) + " signed " + std::to_string(t.is_signed) + " zero " +
                     std::to_string(t.zero) + " fill " + std::to_string(static_cast<int>(fill)) + " seed " +
                     std::to_string(seed));
        const Data d = make_data(c.shape, t, fill, seed);
        std::vector<int32_t>& expected = known[seed];
        if (expected.empty()) expected = expected_sums(c.shape, t, d.x, d.w);
        // Several threads cut the work elsewhere than one does.
        const auto y = run<float>(c.shape, t, d, exact_epilogue(ones, zeros), 1 + static_cast<int>(seed % 4));
        ASSERT_EQ(y.size(), expected.size());
        for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], static_cast<float>(expected[i])) << "element " << i;
      }
}

TEST_P(IgemmVariants, SumsOfSlightlyNegativeInputsAreExact) {
  // As behind a Swish: moved up by 9 the inputs need 8 bits, and pairs of weights must leave room for that.
  const IgemmInputType t{true, false, 0, -9};
  const IgemmShape s = any_shape(conv(6, 20, 40, 3, 1, 1));
  const std::vector<float> ones(1024, 1.0F);
  const std::vector<float> zeros(1024, 0.0F);
  Data d = make_data(s, t, Fill::random, 3);
  for (size_t i = 0; i < d.x.size(); ++i) d.x[i] = d.x[i] % 3 == 0 ? static_cast<uint8_t>(-9) : 127;
  for (size_t i = 0; i < d.w.size(); ++i) d.w[i] = d.w[i] % 5 == 0 ? -120 : 120;
  std::vector<int8_t> packed(igemm_packed_bytes(s, GetParam()->format));
  igemm_pack(s, GetParam()->format, d.w.data(), packed.data());
  EXPECT_EQ(igemm_max_input(t), 136);
  const int32_t max_pair = igemm_max_pair(s, GetParam()->format, packed.data());
  EXPECT_LE(max_pair, 240);
  EXPECT_TRUE(igemm_is_exact(*GetParam(), 136, max_pair));
  EXPECT_EQ(igemm_is_exact(*GetParam(), 136), GetParam()->pair_limit == 0);
  const auto expected = expected_sums(s, t, d.x, d.w);
  const auto y = run<float>(s, t, d, exact_epilogue(ones, zeros), 2);
  for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], static_cast<float>(expected[i])) << "element " << i;
}

TEST_P(IgemmVariants, RandomShapesAreExact) {
  const char* given = std::getenv("PLANISH_TEST_SEED");
  const uint32_t seed = given != nullptr ? static_cast<uint32_t>(std::atoi(given)) : std::random_device{}();
  SCOPED_TRACE("repeat with PLANISH_TEST_SEED=" + std::to_string(seed));
  std::mt19937 random(seed);
  const auto pick = [&](int64_t low, int64_t high) { return low + static_cast<int64_t>(random() % (high - low + 1)); };
  const std::vector<float> ones(1024, 1.0F);
  const std::vector<float> zeros(1024, 0.0F);
  for (int round = 0; round < 40; ++round) {
    IgemmShape s;
    s.images = pick(1, 3);
    s.groups = pick(0, 3) == 0 ? pick(2, 4) : 1;
    s.channels = pick(1, 40);
    s.outputs = pick(1, 90);
    s.kernel_h = pick(1, 4);
    s.kernel_w = pick(1, 4);
    s.stride_h = pick(1, 3);
    s.stride_w = pick(1, 3);
    s.dilation_h = pick(1, 2);
    s.dilation_w = pick(1, 2);
    s.pad_top = pick(0, 3);
    s.pad_left = pick(0, 3);
    s.in_h = pick(1, 9);
    s.in_w = pick(1, 9);
    s.out_h = pick(1, 7);
    s.out_w = pick(1, 7);
    // Those that multiply whole rows only would take hardly any of these.
    if (GetParam()->takes != nullptr) s = matmul(pick(1, 200), pick(1, 90), 4 * pick(8, 16) * pick(1, 30));
    const IgemmInputType t = kTypes[pick(0, 5)];
    if (!takes(s, t)) continue;
    const Data d = make_data(s, t, Fill::random, random());
    const auto expected = expected_sums(s, t, d.x, d.w);
    const auto y = run<float>(s, t, d, exact_epilogue(ones, zeros), static_cast<int>(pick(1, 5)));
    for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], static_cast<float>(expected[i])) << "round " << round;
  }
}

/// One epilogue: how it is told to the kernel, and what it means in double.
struct Finish {
  const char* name;
  QuantizedType r_type = QuantizedType::none;
  bool residual_last = false;
  PointwiseOp act = PointwiseOp::identity;  ///< identity: none
  float low = -INFINITY;
  float high = INFINITY;
  QuantizedType y_type = QuantizedType::i8;
  int32_t y_zero = 0;
};

const Finish kFinishes[] = {
    {"plain_i8"},
    {"plain_u8_zero", QuantizedType::none, false, PointwiseOp::identity, -INFINITY, INFINITY, QuantizedType::u8, 128},
    {"relu_i8", QuantizedType::none, false, PointwiseOp::identity, 0, INFINITY, QuantizedType::i8, -7},
    {"clip_u8", QuantizedType::none, false, PointwiseOp::identity, 0, 6, QuantizedType::u8, 0},
    {"f32", QuantizedType::none, false, PointwiseOp::identity, -INFINITY, INFINITY, QuantizedType::f32, 0},
    {"residual_i8_relu", QuantizedType::i8, false, PointwiseOp::identity, 0, INFINITY, QuantizedType::u8, 0},
    {"residual_u8", QuantizedType::u8, false, PointwiseOp::identity, -INFINITY, INFINITY, QuantizedType::i8, 3},
    {"residual_f32_to_f32", QuantizedType::f32, false, PointwiseOp::identity, 0, INFINITY, QuantizedType::f32, 0},
    {"residual_last_relu", QuantizedType::i8, true, PointwiseOp::identity, 0, INFINITY, QuantizedType::i8, 0},
    {"swish", QuantizedType::none, false, PointwiseOp::swish, -INFINITY, INFINITY, QuantizedType::i8, 0},
    {"hard_swish_residual", QuantizedType::u8, false, PointwiseOp::hard_swish, -INFINITY, INFINITY, QuantizedType::u8,
     20},
    {"gelu", QuantizedType::none, false, PointwiseOp::gelu, -INFINITY, INFINITY, QuantizedType::i8, -100},
    {"gelu_tanh_residual", QuantizedType::f32, false, PointwiseOp::gelu_tanh, -INFINITY, INFINITY, QuantizedType::u8,
     7},
    {"sigmoid", QuantizedType::none, false, PointwiseOp::sigmoid, -INFINITY, INFINITY, QuantizedType::u8, 0},
    {"swish_residual_last", QuantizedType::i8, true, PointwiseOp::swish, -INFINITY, INFINITY, QuantizedType::u8, 20},
    {"leaky_relu_u8", QuantizedType::none, false, PointwiseOp::leaky_relu, -INFINITY, INFINITY, QuantizedType::u8, 9},
    {"swish_f32", QuantizedType::none, false, PointwiseOp::swish, -INFINITY, INFINITY, QuantizedType::f32, 0},
    {"sigmoid_u8", QuantizedType::none, false, PointwiseOp::sigmoid, -INFINITY, INFINITY, QuantizedType::u8, 0},
    {"leaky_relu_residual_last", QuantizedType::i8, true, PointwiseOp::leaky_relu, -INFINITY, INFINITY,
     QuantizedType::i8, 4},
    {"gelu_residual_last_f32", QuantizedType::f32, true, PointwiseOp::gelu, -INFINITY, INFINITY, QuantizedType::f32, 0},
};

double activate(PointwiseOp op, double x) {
  switch (op) {
    case PointwiseOp::swish: return x / (1 + std::exp(-x));
    case PointwiseOp::sigmoid: return 1 / (1 + std::exp(-x));
    case PointwiseOp::leaky_relu: return x < 0 ? 0.25 * x : x;
    case PointwiseOp::hard_swish: return x * std::clamp(x / 6 + 0.5, 0.0, 1.0);
    case PointwiseOp::gelu: return 0.5 * x * (1 + std::erf(x * std::sqrt(0.5)));
    case PointwiseOp::gelu_tanh: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    default: return x;
  }
}

TEST_P(IgemmVariants, EpilogueIsWithinOneStep) {
  constexpr double kYScale = 0.05;
  constexpr double kRScale = 0.03;
  constexpr int kRZero = 5;
  const IgemmShape s = any_shape(conv(9, 12, 83, 3, 1, 1));
  const IgemmInputType t{true, true, 2};
  const Data d = make_data(s, t, Fill::random, 5);
  const auto sums = expected_sums(s, t, d.x, d.w);
  std::mt19937 random(9);
  std::vector<uint8_t> r_bytes(sums.size());
  std::vector<float> r_floats(sums.size());
  for (size_t i = 0; i < sums.size(); ++i) {
    r_bytes[i] = static_cast<uint8_t>(random());
    r_floats[i] = static_cast<float>(random() % 1000) / 250.0F - 2.0F;
  }
  for (size_t i = 0; i < 2 * std::size(kFinishes); ++i) {
    const Finish& f = kFinishes[i / 2];
    const bool within_32_bits = i % 2 == 1;
    SCOPED_TRACE(std::string(f.name) + (within_32_bits ? ", within 32 bits" : ""));
    const bool bytes = f.y_type != QuantizedType::f32;
    const int q_min = f.y_type == QuantizedType::u8 ? 0 : -128;
    const int q_max = f.y_type == QuantizedType::u8 ? 255 : 127;
    const bool folded = f.act == PointwiseOp::identity && !f.residual_last;
    const auto factor = static_cast<float>(folded && bytes ? 1 / kYScale : 1.0);
    std::vector<float> scale(static_cast<size_t>(s.outputs + kChannelPadding));
    std::vector<float> bias(scale.size());
    for (size_t k = 0; k < scale.size(); ++k) {
      scale[k] = (1e-5F + 1e-6F * static_cast<float>(k)) * factor;
      bias[k] = (0.01F * static_cast<float>(k) - 0.4F) * factor;
    }
    QuantizedEpilogue e;
    e.scale = scale.data();
    e.bias = bias.data();
    e.r_type = f.r_type;
    e.r = f.r_type == QuantizedType::f32 ? static_cast<const void*>(r_floats.data()) : r_bytes.data();
    const bool r_is_float = f.r_type == QuantizedType::f32;
    e.r_scale = (r_is_float ? 1.0F : static_cast<float>(kRScale)) * factor;
    e.r_offset = r_is_float ? 0.0F : -e.r_scale * kRZero;
    e.residual_last = f.residual_last;
    e.act = f.act == PointwiseOp::identity ? nullptr : best_pointwise_kernel().fn;
    e.act_op = f.act;
    e.act_alpha = f.act == PointwiseOp::leaky_relu ? 0.25F : 1.0F;
    e.y_type = f.y_type;
    e.folded = folded;
    e.low = f.low * factor;
    e.high = f.high * factor;
    e.q_low = static_cast<float>(q_min - f.y_zero);
    e.q_high = static_cast<float>(q_max - f.y_zero);
    if (folded && bytes) {
      e.low = std::max(e.low, e.q_low);
      e.high = std::min(e.high, e.q_high);
    }
    e.y_factor = bytes ? static_cast<float>(1 / kYScale) : 1.0F;
    e.y_zero = f.y_zero;
    e.within_32_bits = within_32_bits;
    std::vector<double> got;
    if (bytes)
      for (const uint8_t b : run<uint8_t>(s, t, d, e, 2))
        got.push_back(f.y_type == QuantizedType::u8 ? b : static_cast<int8_t>(b));
    else
      for (const float v : run<float>(s, t, d, e, 2)) got.push_back(v);
    for (size_t j = 0; j < sums.size(); ++j) {
      const size_t k = j % static_cast<size_t>(s.outputs);
      double v = static_cast<double>(sums[j]) * scale[k] / factor + bias[k] / factor;
      const double byte = f.r_type == QuantizedType::i8 ? static_cast<int8_t>(r_bytes[j]) : r_bytes[j];
      const double r = f.r_type == QuantizedType::none ? 0 : r_is_float ? r_floats[j] : (byte - kRZero) * kRScale;
      v = std::clamp<double>(activate(f.act, f.residual_last ? v : v + r), f.low, f.high) + (f.residual_last ? r : 0);
      if (!bytes) {
        ASSERT_NEAR(got[j], v, 1e-5 * (1 + std::fabs(v))) << "element " << j;
        continue;
      }
      const double exact = std::clamp<double>(v / kYScale + f.y_zero, q_min, q_max);
      // Activations that become bytes may be wrong by 2e-4 of their magnitude.
      const double slack = f.act == PointwiseOp::identity ? 1e-3 : 1e-3 + 2e-4 * std::fabs(v / kYScale);
      ASSERT_NEAR(got[j], exact, 0.5 + slack) << "element " << j;
    }
  }
}

std::vector<const IgemmKernel*> rows() {
  std::vector<const IgemmKernel*> out;
  for (const IgemmKernel& k : igemm_kernels()) out.push_back(&k);
  return out;
}

INSTANTIATE_TEST_SUITE_P(Table, IgemmVariants, testing::ValuesIn(rows()),
                         [](const auto& row) { return std::string(row.param->name); });

TEST(IgemmTable, EndsWithARowForEveryMachineAndInput) {
  EXPECT_EQ(igemm_kernels().back().isa, Isa::baseline);
  EXPECT_TRUE(igemm_is_exact(igemm_kernels().back(), 255));
  EXPECT_EQ(igemm_kernels().back().takes, nullptr);
  for (const Case& c : kCases)
    for (const int32_t max : {127, 255}) {
      const IgemmKernel& best = best_igemm_kernel(c.shape, max);
      EXPECT_TRUE(cpu_features().has(best.isa)) << c.name;
      EXPECT_TRUE(igemm_takes(best, c.shape)) << c.name;
      EXPECT_TRUE(igemm_is_exact(best, max)) << c.name;
    }
}

}  // namespace
}  // namespace planish::kernels
