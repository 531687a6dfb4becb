// Every variant of the products with packed integers that this machine can run, against the product in double.

#include "planish/kernels/cpu/weight_only/weight_only.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

namespace planish::kernels {
namespace {

struct Case {
  const char* label;
  int64_t m, k, n, block;
  int64_t bits;
  bool zeros;
  bool by_column = false;  ///< the graph's matrix is [n, k]
  bool bias = false;
  bool residual = false;
  bool residual_last = false;
  bool relu = false;
};

constexpr Case kCases[] = {
    {"one_row_of_nibbles", 1, 256, 128, 32, 4, false},
    {"odd_sizes", 7, 203, 77, 16, 4, true, true, true, true, false, true},
    {"one_block", 3, 301, 50, 301, 4, false, false, true},
    {"long_blocks", 5, 1200, 33, 600, 4, true, true},
    {"many_rows", 67, 136, 81, 128, 4, true, false, true, true, true, true},
    {"one_row_of_bytes", 1, 100, 130, 100, 8, false, true},
    {"bytes_in_blocks", 6, 203, 77, 16, 8, true, false, true, true, true, true},
    {"many_rows_of_bytes", 40, 530, 65, 32, 8, false, true, false, true},
    {"few_columns", 2, 64, 3, 32, 8, true},
};

void relu(PointwiseOp, int64_t n, const float* a, const float*, float* y, float, float) {
  for (int64_t i = 0; i < n; ++i) y[i] = a[i] < 0 ? 0 : a[i];
}

/// A matrix of random integers in the graph's form and packed.
struct Matrix {
  WeightOnlyShape shape;
  std::vector<uint8_t> q;  ///< [k][n], one per element, unsigned
  std::vector<uint8_t> source;
  IntegerMatrix view;
  std::vector<uint8_t> packed;
  std::vector<float> scale;   ///< [blocks][n]
  std::vector<uint8_t> zero;  ///< [blocks][n], unsigned
  std::vector<float> packed_scale;
  std::vector<uint8_t> packed_zero;

  explicit Matrix(const Case& c, bool is_signed) : shape{c.k, c.n, c.block, c.bits, c.zeros} {
    std::mt19937 random(7);
    const auto levels = static_cast<uint32_t>(1) << c.bits;
    const auto middle = static_cast<uint8_t>(levels / 2);
    q.resize(static_cast<size_t>(c.k * c.n));
    for (uint8_t& v : q) v = static_cast<uint8_t>(random() % levels);
    view = {nullptr, is_signed, c.by_column ? 1 : c.n, c.by_column ? c.k : 1};
    source.resize(static_cast<size_t>(c.bits == 8 ? c.k * c.n : (c.k * c.n + 1) / 2));
    for (int64_t k = 0; k < c.k; ++k)
      for (int64_t j = 0; j < c.n; ++j) {
        const int64_t i = k * view.k_stride + j * view.n_stride;
        const auto v = static_cast<uint8_t>(q[static_cast<size_t>(k * c.n + j)] ^ (is_signed ? middle : 0));
        if (c.bits == 8)
          source[static_cast<size_t>(i)] = v;
        else
          source[static_cast<size_t>(i / 2)] |= static_cast<uint8_t>(v << (i % 2 * 4));
      }
    view.data = source.data();
    packed.resize(static_cast<size_t>(shape.panels() * shape.panel_bytes()));
    pack_weight_only(shape, view, packed.data());
    const auto parameters = static_cast<size_t>(shape.blocks() * c.n);
    for (size_t i = 0; i < parameters; ++i) {
      scale.push_back(0.01F + 0.001F * static_cast<float>(random() % 16));
      zero.push_back(c.zeros ? static_cast<uint8_t>(random() % levels) : middle);
    }
    for (int64_t panel = 0; panel < shape.panels(); ++panel)
      for (int64_t b = 0; b < shape.blocks(); ++b)
        for (int64_t i = 0; i < kWeightOnlyPanel; ++i) {
          const int64_t j = panel * kWeightOnlyPanel + i;
          const auto at = static_cast<size_t>(b * c.n + j);
          packed_scale.push_back(j < c.n ? scale[at] : 0);
          packed_zero.push_back(j < c.n ? zero[at] : uint8_t{0});
        }
  }

  [[nodiscard]] double value(int64_t k, int64_t j) const {
    const auto parameter = static_cast<size_t>(k / shape.block * shape.n + j);
    return (static_cast<double>(q[static_cast<size_t>(k * shape.n + j)]) - zero[parameter]) *
           static_cast<double>(scale[parameter]);
  }
};

std::vector<float> normal(int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> d;
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = d(random);
  return x;
}

class WeightOnlyVariants : public testing::TestWithParam<const WeightOnlyKernel*> {
 protected:
  void SetUp() override {
    if (!cpu_features().has(GetParam()->isa)) GTEST_SKIP() << "this processor has no " << isa_name(GetParam()->isa);
  }
};

TEST_P(WeightOnlyVariants, AgreesWithTheProductInDouble) {
  const WeightOnlyKernel& kernel = *GetParam();
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.label);
    const Matrix w(c, c.m % 2 == 0);
    const int64_t a_row = c.k + 3;
    const int64_t c_row = c.n + 5;
    const auto a = normal(c.m * a_row, 1);
    const auto bias = normal(c.n, 3);
    const auto residual = normal(c.m * c_row, 4);
    constexpr float kUntouched = 77;
    std::vector<float> y(static_cast<size_t>(c.m * c_row), kUntouched);
    WeightOnlyProblem p{
        c.m,      w.shape, a.data(), a_row,  w.packed.data(), w.packed_scale.data(), w.packed_zero.data(),
        y.data(), c_row,   {},       nullptr};
    if (c.bias) p.epilogue.bias = bias.data();
    if (c.residual) p.epilogue.residual = residual.data();
    p.epilogue.residual_last = c.residual_last;
    if (c.relu) p.epilogue.activate = relu;
    std::vector<float> rows(static_cast<size_t>(c.m * weight_only_row_floats(w.shape)), kUntouched);
    weight_only_rows(p, 0, c.m, rows.data());
    p.rows = rows.data();
    const int64_t middle = w.shape.panels() / 2;
    kernel.run(p, 0, middle);
    kernel.run(p, middle, w.shape.panels());
    for (int64_t i = 0; i < c.m; ++i)
      for (int64_t j = 0; j < c_row; ++j) {
        const auto at = static_cast<size_t>(i * c_row + j);
        if (j >= c.n) {
          ASSERT_EQ(y[at], kUntouched) << "writes behind row " << i;
          continue;
        }
        double sum = c.bias ? bias[static_cast<size_t>(j)] : 0;
        double size = 1;
        for (int64_t k = 0; k < c.k; ++k) {
          const double product = static_cast<double>(a[static_cast<size_t>(i * a_row + k)]) * w.value(k, j);
          sum += product;
          size += product * product;
        }
        if (c.residual && !c.residual_last) sum += residual[at];
        if (c.relu) sum = std::max(sum, 0.0);
        if (c.residual && c.residual_last) sum += residual[at];
        ASSERT_NEAR(y[at], sum, 1e-5 * std::sqrt(size)) << "at " << i << ", " << j;
      }
  }
}

std::vector<const WeightOnlyKernel*> all_variants() {
  std::vector<const WeightOnlyKernel*> out;
  for (const WeightOnlyKernel& k : weight_only_kernels()) out.push_back(&k);
  return out;
}

INSTANTIATE_TEST_SUITE_P(All, WeightOnlyVariants, testing::ValuesIn(all_variants()),
                         [](const auto& variant) { return std::string(variant.param->name); });

TEST(WeightOnlyPacking, IntegersComeBack) {
  for (const Case& c : kCases)
    for (const bool is_signed : {false, true}) {
      SCOPED_TRACE(c.label);
      const Matrix w(c, is_signed);
      std::vector<uint8_t> back(w.source.size(), 0xaa);
      unpack_weight_only(w.shape, w.packed.data(), w.view, back.data());
      ASSERT_EQ(back, w.source);
    }
}

}  // namespace
}  // namespace planish::kernels
