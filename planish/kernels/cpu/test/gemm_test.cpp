// Every variant of the packed matrix products that this machine can run, against the product in double.

#include "planish/kernels/cpu/gemm/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

namespace planish::kernels {
namespace {

struct Case {
  const char* label;
  int64_t m, k, n;
  int64_t depth, chunk;
  bool bias = false;
  bool residual = false;
  bool residual_last = false;
  bool relu = false;
  bool gelu = false;
};

constexpr Case kCases[] = {
    {"whole_tiles", 36, 64, 96, 32, 36},
    {"single_row", 1, 40, 50, 64, 96},
    {"odd_rows", 37, 48, 97, 24, 96, true},
    {"several_depths", 20, 130, 70, 16, 20, true, true, false, true},
    {"several_chunks", 61, 36, 200, 16, 14, true, true, true, true},
    {"few_columns", 19, 32, 7, 16, 96, false, true},
    {"last_chunk_of_one_row", 25, 16, 48, 8, 8, false, false, false, true},
    {"gelu", 37, 68, 200, 16, 96, false, false, false, false, true},
    {"gelu_of_sum", 61, 94, 192, 32, 20, true, true, false, false, true},
    {"gelu_before_residual", 37, 64, 97, 64, 96, true, true, true, false, true},
};

std::vector<float> normal(int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> d;
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = d(random);
  return x;
}

void relu(PointwiseOp, int64_t n, const float* a, const float*, float* y, float, float) {
  for (int64_t i = 0; i < n; ++i) y[i] = a[i] < 0 ? 0 : a[i];
}

class GemmVariants : public testing::TestWithParam<const GemmKernel*> {
 protected:
  void SetUp() override {
    if (!cpu_features().has(GetParam()->isa)) GTEST_SKIP() << "this processor has no " << isa_name(GetParam()->isa);
  }
};

TEST_P(GemmVariants, AgreesWithTheProductInDouble) {
  const GemmKernel& kernel = *GetParam();
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.label);
    const int64_t a_row = c.k + 3;
    const int64_t c_row = c.n + 5;
    const auto a = normal(c.m * a_row, 1);
    const auto b = normal(c.k * c.n, 2);
    const auto bias = normal(c.n, 3);
    const auto residual = normal(c.m * c_row, 4);
    std::vector<float> packed(static_cast<size_t>(gemm_weights_size(kernel, c.k, c.n)));
    pack_gemm_weights(kernel, c.k, c.n, b.data(), c.n, 1, packed.data());
    constexpr float kUntouched = 77;
    std::vector<float> y(static_cast<size_t>(c.m * c_row), kUntouched);
    GemmProblem p{c.m, c.n, c.k, a.data(), a_row, packed.data(), y.data(), c_row, {}};
    if (c.bias) p.epilogue.bias = bias.data();
    if (c.residual) p.epilogue.residual = residual.data();
    p.epilogue.residual_last = c.residual_last;
    if (c.relu || c.gelu) p.epilogue.activate = relu;
    if (c.gelu) p.epilogue.op = PointwiseOp::gelu;
    const int64_t panels = (c.n + kernel.panel - 1) / kernel.panel;
    // Two parts by rows and one per panel, as threads would take them.
    for (int64_t panel = 0; panel < panels; ++panel)
      for (int64_t half = 0; half < 2; ++half) {
        const int64_t middle = c.m / 4 * 2;
        GemmPart part{half * middle, half == 0 ? middle : c.m - middle, panel, 1, c.depth, c.chunk, nullptr};
        std::vector<float> scratch(static_cast<size_t>(gemm_scratch_size(kernel, part)));
        part.scratch = scratch.data();
        kernel.run(p, part);
      }
    const auto bound = 1e-5 * std::sqrt(static_cast<double>(c.k));
    for (int64_t i = 0; i < c.m; ++i)
      for (int64_t j = 0; j < c_row; ++j) {
        const auto at = static_cast<size_t>(i * c_row + j);
        if (j >= c.n) {
          ASSERT_EQ(y[at], kUntouched) << "writes behind row " << i;
          continue;
        }
        double sum = c.bias ? bias[static_cast<size_t>(j)] : 0;
        for (int64_t q = 0; q < c.k; ++q)
          sum += static_cast<double>(a[static_cast<size_t>(i * a_row + q)]) * b[static_cast<size_t>(q * c.n + j)];
        if (c.residual && !c.residual_last) sum += residual[at];
        if (c.relu) sum = std::max(sum, 0.0);
        if (c.gelu) sum *= 0.5 * (1 + std::erf(sum / std::sqrt(2.0)));
        if (c.residual && c.residual_last) sum += residual[at];
        ASSERT_NEAR(y[at], sum, bound) << "at " << i << ", " << j;
      }
  }
}

/// With B = (1) the product is A itself.
TEST_P(GemmVariants, GeluFollowsItsDefinition) {
  const GemmKernel& kernel = *GetParam();
  const int64_t k = 2;
  const std::vector<float> b{1, 0};
  std::vector<float> packed(static_cast<size_t>(gemm_weights_size(kernel, k, 1)));
  pack_gemm_weights(kernel, k, 1, b.data(), 1, 1, packed.data());
  std::vector<float> a;
  for (int i = -2000; i <= 2000; ++i) a.insert(a.end(), {static_cast<float>(i) / 150.0F, 0});
  a.insert(a.end(), {-1e30F, 0, 1e30F, 0, NAN, 0});
  const auto rows = static_cast<int64_t>(a.size()) / k;
  std::vector<float> y(static_cast<size_t>(rows));
  GemmProblem p{rows, 1, k, a.data(), k, packed.data(), y.data(), 1, {}};
  p.epilogue.activate = relu;
  p.epilogue.op = PointwiseOp::gelu;
  GemmPart part{0, rows, 0, 1, 16, 96, nullptr};
  std::vector<float> scratch(static_cast<size_t>(gemm_scratch_size(kernel, part)));
  part.scratch = scratch.data();
  kernel.run(p, part);
  for (int64_t i = 0; i < rows; ++i) {
    const double x = a[static_cast<size_t>(i * k)];
    if (std::isnan(x)) {
      EXPECT_TRUE(std::isnan(y[static_cast<size_t>(i)]));
      continue;
    }
    const double expected = x < -50 ? 0 : 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    ASSERT_NEAR(y[static_cast<size_t>(i)], expected, 5e-7 * (1 + std::abs(expected))) << x;
  }
}

TEST_P(GemmVariants, WeightsComeBack) {
  const GemmKernel& kernel = *GetParam();
  for (const bool transposed : {false, true}) {
    const int64_t k = 34;
    const int64_t n = 61;
    const auto b = normal(k * n, 5);
    const int64_t k_stride = transposed ? 1 : n;
    const int64_t n_stride = transposed ? k : 1;
    std::vector<float> packed(static_cast<size_t>(gemm_weights_size(kernel, k, n)));
    pack_gemm_weights(kernel, k, n, b.data(), k_stride, n_stride, packed.data());
    std::vector<float> back(b.size());
    unpack_gemm_weights(kernel, k, n, packed.data(), back.data(), k_stride, n_stride);
    // A quarter of the weights for seven products are sums.
    const float rounding = kernel.products == 1 ? 0 : 1e-6F;
    for (size_t i = 0; i < b.size(); ++i) ASSERT_NEAR(back[i], b[i], rounding) << i;
  }
}

std::vector<const GemmKernel*> all_variants() {
  std::vector<const GemmKernel*> out;
  for (const GemmKernel& k : gemm_kernels()) out.push_back(&k);
  return out;
}

INSTANTIATE_TEST_SUITE_P(All, GemmVariants, testing::ValuesIn(all_variants()),
                         [](const auto& variant) { return std::string(variant.param->name); });

TEST(BestGemmKernel, ExistsForBothAlgorithms) {
  EXPECT_EQ(best_gemm_kernel(1).products, 1);
  EXPECT_EQ(best_gemm_kernel(7).products, 7);
}

}  // namespace
}  // namespace planish::kernels
