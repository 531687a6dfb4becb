// Every variant of the bfloat16 products that this machine can run, against the product in double.

#include "planish/kernels/cpu/bf16_gemm/bf16_gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "planish/base/half.h"

namespace planish::kernels {
namespace {

struct Case {
  const char* label;
  int64_t m, k, n;
  int64_t depths = 1;
  int64_t chunk = 128;  ///< rounded up to the kernel's rows
  bool bias = false;
  bool residual = false;
  PointwiseOp op = PointwiseOp::identity;
  bool residual_last = false;
  bool wide = false;  ///< output, bias and residual in f32
};

constexpr Case kCases[] = {
    {"whole_tiles", 64, 64, 64},
    {"one_row", 1, 32, 32},
    {"odd_rows_and_columns", 45, 96, 75, 3, 128, true},
    {"sixteen_rows_left", 48, 64, 33, 2},
    {"steps_below_a_whole_tile", 37, 144, 50, 3, 32, true, true, PointwiseOp::relu},
    {"step_of_sixteen", 33, 16, 24, 1, 128, true, false, PointwiseOp::swish},
    {"no_step", 21, 38, 40, 2, 14, true, true, PointwiseOp::gelu},
    {"residual_last", 40, 64, 72, 2, 32, true, true, PointwiseOp::gelu, true},
    {"wide", 50, 160, 90, 2, 32, true, true, PointwiseOp::relu, true, true},
    {"wide_through_a_function", 18, 32, 47, 1, 32, false, true, PointwiseOp::tanh, false, true},
};

using Bits = std::vector<uint16_t>;

Bits normal(int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> d;
  Bits x(static_cast<size_t>(n));
  for (uint16_t& v : x) v = bf16(d(random)).bits;
  return x;
}

float value(uint16_t bits) { return static_cast<float>(bf16::from_bits(bits)); }

/// Numbers as a problem takes them, in either type.
struct Numbers {
  std::vector<float> floats;
  Bits bits;
  bool wide = false;

  Numbers(const Bits& from, bool as_floats) : bits(from), wide(as_floats) {
    for (const uint16_t b : from) floats.push_back(value(b));
  }
  [[nodiscard]] const void* data() const {
    return wide ? static_cast<const void*>(floats.data()) : static_cast<const void*>(bits.data());
  }
  [[nodiscard]] void* data() { return wide ? static_cast<void*>(floats.data()) : static_cast<void*>(bits.data()); }
  [[nodiscard]] double at(int64_t i) const {
    return wide ? floats[static_cast<size_t>(i)] : value(bits[static_cast<size_t>(i)]);
  }
};

double apply(PointwiseOp op, double x) {
  switch (op) {
    case PointwiseOp::relu: return std::max(x, 0.0);
    case PointwiseOp::swish: return x / (1 + std::exp(-x));
    case PointwiseOp::gelu: return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case PointwiseOp::tanh: return std::tanh(x);
    default: return x;
  }
}

class Bf16GemmVariants : public testing::TestWithParam<const Bf16GemmKernel*> {
 protected:
  void SetUp() override {
    if (!cpu_features().has(GetParam()->isa)) GTEST_SKIP() << "this processor has no " << isa_name(GetParam()->isa);
  }
};

TEST_P(Bf16GemmVariants, AgreesWithTheProductInDouble) {
  const Bf16GemmKernel& kernel = *GetParam();
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.label);
    const int64_t step = kernel.depth_step(c.k);
    if (step == 0) continue;
    const int64_t a_row = c.k + 4;
    const int64_t c_row = c.n + 5;
    const Bits a = normal(c.m * a_row, 1);
    const Bits b = normal(c.k * c.n, 2);
    const Numbers bias(normal(c.n, 3), c.wide);
    const Numbers residual(normal(c.m * c_row, 4), c.wide);
    Bits packed(static_cast<size_t>(bf16_weights_size(c.k, c.n)));
    pack_bf16_weights(c.k, c.n, b.data(), c.n, 1, packed.data());
    constexpr float kUntouched = 77;
    Numbers y(Bits(static_cast<size_t>(c.m * c_row), bf16(kUntouched).bits), c.wide);
    Bf16Problem p{.m = c.m,
                  .n = c.n,
                  .k = c.k,
                  .a = a.data(),
                  .a_row = a_row,
                  .weights = packed.data(),
                  .c = y.data(),
                  .c_row = c_row,
                  .c_wide = c.wide,
                  .bias = {},
                  .residual = {},
                  .act = {}};
    if (c.bias) p.bias = {bias.data(), c.wide};
    if (c.residual) p.residual = {residual.data(), c.wide};
    set_activation(p.act, c.op, 1.0F, 0.0F);
    p.act.residual_last = c.residual_last;
    const int64_t chunk = (c.chunk + kernel.rows - 1) / kernel.rows * kernel.rows;
    auto* sums = static_cast<float*>(std::aligned_alloc(64, static_cast<size_t>(chunk * kBf16Panel) * sizeof(float)));
    const std::unique_ptr<float, decltype(&std::free)> owner(sums, &std::free);
    // Two parts by rows and one per panel, as threads would take them.
    const int64_t middle = c.m / 32 * 16;
    for (int64_t panel = 0; panel * kBf16Panel < c.n; ++panel)
      for (const bool second : {false, true})
        kernel.run(p, {.row = second ? middle : 0,
                       .rows = second ? c.m - middle : middle,
                       .panel = panel,
                       .panels = 1,
                       .depth = (c.k / c.depths + step - 1) / step * step,
                       .chunk = chunk,
                       .sums = sums});
    for (int64_t i = 0; i < c.m; ++i)
      for (int64_t j = 0; j < c_row; ++j) {
        const int64_t at = i * c_row + j;
        if (j >= c.n) {
          ASSERT_EQ(y.at(at), kUntouched) << "writes behind row " << i;
          continue;
        }
        double sum = c.bias ? bias.at(j) : 0;
        for (int64_t q = 0; q < c.k; ++q)
          sum += static_cast<double>(value(a[static_cast<size_t>(i * a_row + q)])) *
                 value(b[static_cast<size_t>(q * c.n + j)]);
        if (c.residual && !c.residual_last) sum += residual.at(at);
        sum = apply(c.op, sum);
        if (c.residual && c.residual_last) sum += residual.at(at);
        const double rounding = c.wide ? 2e-5 * std::sqrt(static_cast<double>(c.k)) : 1e-4 + std::abs(sum) / 200;
        ASSERT_NEAR(y.at(at), sum, rounding) << "at " << i << ", " << j;
      }
  }
}

TEST_P(Bf16GemmVariants, KeepsNanAndInfinity) {
  const Bf16GemmKernel& kernel = *GetParam();
  constexpr int64_t kSize = 32;
  Bits a(kSize * kSize, 0);
  a[0] = bf16(std::numeric_limits<float>::quiet_NaN()).bits;
  a[kSize] = bf16(std::numeric_limits<float>::infinity()).bits;
  const Bits b(kSize * kSize, bf16(1.0F).bits);
  Bits packed(static_cast<size_t>(bf16_weights_size(kSize, kSize)));
  pack_bf16_weights(kSize, kSize, b.data(), kSize, 1, packed.data());
  Bits y(kSize * kSize, 0);
  alignas(64) float sums[128 * kBf16Panel];
  Bf16Problem p{.m = kSize,
                .n = kSize,
                .k = kSize,
                .a = a.data(),
                .a_row = kSize,
                .weights = packed.data(),
                .c = y.data(),
                .c_row = kSize,
                .c_wide = false,
                .bias = {},
                .residual = {},
                .act = {}};
  kernel.run(
      p, {.row = 0, .rows = kSize, .panel = 0, .panels = 1, .depth = kSize, .chunk = 4 * kernel.rows, .sums = sums});
  EXPECT_TRUE(std::isnan(value(y[0])));
  EXPECT_EQ(value(y[kSize]), std::numeric_limits<float>::infinity());
  EXPECT_EQ(value(y[2 * kSize]), 0.0F);
}

std::vector<const Bf16GemmKernel*> all_variants() {
  std::vector<const Bf16GemmKernel*> out;
  for (const Bf16GemmKernel& k : bf16_gemm_kernels()) out.push_back(&k);
  return out;
}

INSTANTIATE_TEST_SUITE_P(All, Bf16GemmVariants, testing::ValuesIn(all_variants()),
                         [](const auto& variant) { return std::string(variant.param->name); });

TEST(Bf16Weights, ComeBack) {
  const int64_t k = 34;
  const int64_t n = 61;
  const Bits b = normal(k * n, 5);
  for (const bool transposed : {false, true}) {
    Bits packed(static_cast<size_t>(bf16_weights_size(k, n)));
    const int64_t k_stride = transposed ? 1 : n;
    const int64_t n_stride = transposed ? k : 1;
    pack_bf16_weights(k, n, b.data(), k_stride, n_stride, packed.data());
    Bits back(b.size());
    unpack_bf16_weights(k, n, packed.data(), back.data(), k_stride, n_stride);
    EXPECT_EQ(back, b);
  }
}

TEST(Bf16Weights, PanelsOfRowsAndColumnsAreTheSame) {
  for (const int64_t k : {2, 6, 8, 34, 64})
    for (const int64_t n : {1, 7, 8, 29, 32}) {
      constexpr int64_t kGap = 3;  // rows lie apart
      Bits panel(static_cast<size_t>(k * kBf16Panel));
      Bits expected(panel.size());
      const Bits columns = normal(n * (k + kGap), 6);
      pack_bf16_weights(k, n, columns.data(), 1, k + kGap, expected.data());
      pack_bf16_columns(k, n, columns.data(), k + kGap, panel.data());
      EXPECT_EQ(panel, expected) << k << " x " << n;
      for (const int64_t given : {k, k - 1}) {
        Bits rows = normal(k * (n + kGap), 7);
        pack_bf16_rows(given, k, n, rows.data(), n + kGap, panel.data());
        std::fill(rows.begin() + given * (n + kGap), rows.end(), uint16_t{0});
        pack_bf16_weights(k, n, rows.data(), n + kGap, 1, expected.data());
        EXPECT_EQ(panel, expected) << given << " of " << k << " x " << n;
      }
    }
}

}  // namespace
}  // namespace planish::kernels
