// Every variant of the elementwise kernels that this machine can run, against the C library in double.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "planish/kernels/cpu/pointwise/pointwise.h"

namespace planish::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kAlpha = 0.3F;
constexpr float kBeta = 0.6F;
constexpr double kBound = 3e-6;  // documented in pointwise.h

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }
double nan_max(double a, double b) { return std::isnan(a) || std::isnan(b) ? NAN : std::max(a, b); }
double nan_min(double a, double b) { return std::isnan(a) || std::isnan(b) ? NAN : std::min(a, b); }

struct Function {
  const char* name;
  PointwiseOp op;
  double (*exact)(double x, double z);
};

const Function kFunctions[] = {
    {"identity", PointwiseOp::identity, [](double x, double) { return x; }},
    {"abs", PointwiseOp::abs, [](double x, double) { return std::fabs(x); }},
    {"neg", PointwiseOp::neg, [](double x, double) { return -x; }},
    {"reciprocal", PointwiseOp::reciprocal, [](double x, double) { return 1 / x; }},
    {"sqrt", PointwiseOp::sqrt, [](double x, double) { return std::sqrt(x); }},
    {"exp", PointwiseOp::exp, [](double x, double) { return std::exp(x); }},
    {"log", PointwiseOp::log, [](double x, double) { return std::log(x); }},
    {"floor", PointwiseOp::floor, [](double x, double) { return std::floor(x); }},
    {"ceil", PointwiseOp::ceil, [](double x, double) { return std::ceil(x); }},
    {"round", PointwiseOp::round, [](double x, double) { return std::nearbyint(x); }},
    {"sign", PointwiseOp::sign, [](double x, double) { return std::isnan(x) ? x : double((x > 0) - (x < 0)); }},
    {"erf", PointwiseOp::erf, [](double x, double) { return std::erf(x); }},
    {"relu", PointwiseOp::relu, [](double x, double) { return x < 0 ? 0 : x; }},
    {"leaky_relu", PointwiseOp::leaky_relu, [](double x, double) { return x < 0 ? double(kAlpha) * x : x; }},
    {"elu", PointwiseOp::elu, [](double x, double) { return x < 0 ? double(kAlpha) * std::expm1(x) : x; }},
    {"celu", PointwiseOp::celu,
     [](double x, double) { return x < 0 ? double(kAlpha) * std::expm1(x / double(kAlpha)) : x; }},
    {"selu", PointwiseOp::selu,
     [](double x, double) { return double(kBeta) * (x < 0 ? double(kAlpha) * std::expm1(x) : x); }},
    {"softsign", PointwiseOp::softsign, [](double x, double) { return x / (1 + std::fabs(x)); }},
    {"logical_not", PointwiseOp::logical_not, [](double x, double) { return double(x == 0); }},
    {"prelu", PointwiseOp::prelu, [](double x, double z) { return x < 0 ? x * z : x; }},
    {"equal", PointwiseOp::equal, [](double x, double z) { return double(x == z); }},
    {"greater", PointwiseOp::greater, [](double x, double z) { return double(x > z); }},
    {"greater_or_equal", PointwiseOp::greater_or_equal, [](double x, double z) { return double(x >= z); }},
    {"less", PointwiseOp::less, [](double x, double z) { return double(x < z); }},
    {"less_or_equal", PointwiseOp::less_or_equal, [](double x, double z) { return double(x <= z); }},
    {"logical_and", PointwiseOp::logical_and, [](double x, double z) { return double(x != 0 && z != 0); }},
    {"logical_or", PointwiseOp::logical_or, [](double x, double z) { return double(x != 0 || z != 0); }},
    {"logical_xor", PointwiseOp::logical_xor, [](double x, double z) { return double((x != 0) != (z != 0)); }},
    {"sigmoid", PointwiseOp::sigmoid, [](double x, double) { return sigmoid(x); }},
    {"tanh", PointwiseOp::tanh, [](double x, double) { return std::tanh(x); }},
    {"softplus", PointwiseOp::softplus, [](double x, double) { return softplus(x); }},
    {"swish", PointwiseOp::swish, [](double x, double) { return x * sigmoid(double(kAlpha) * x); }},
    {"hard_sigmoid", PointwiseOp::hard_sigmoid,
     [](double x, double) { return nan_max(0, nan_min(1, double(kAlpha) * x + double(kBeta))); }},
    {"hard_swish", PointwiseOp::hard_swish, [](double x, double) { return x * nan_max(0, nan_min(1, x / 6 + 0.5)); }},
    // At minus infinity the limit, where the formula has infinity times zero.
    {"gelu", PointwiseOp::gelu,
     [](double x, double) { return std::isinf(x) && x < 0 ? 0 : 0.5 * x * (1 + std::erf(x * std::sqrt(0.5))); }},
    {"gelu_tanh", PointwiseOp::gelu_tanh,
     [](double x, double) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }},
    {"dequantize", PointwiseOp::dequantize, [](double x, double) { return (x - double(kBeta)) * double(kAlpha); }},
    {"mish", PointwiseOp::mish, [](double x, double) { return x * std::tanh(softplus(x)); }},
    {"clip", PointwiseOp::clip,
     [](double x, double) { return std::isnan(x) ? x : std::clamp(x, double(kAlpha), double(kBeta)); }},
    {"add", PointwiseOp::add, [](double x, double z) { return x + z; }},
    {"sub", PointwiseOp::sub, [](double x, double z) { return x - z; }},
    {"mul", PointwiseOp::mul, [](double x, double z) { return x * z; }},
    {"div", PointwiseOp::div, [](double x, double z) { return x / z; }},
    {"max", PointwiseOp::max, nan_max},
    {"min", PointwiseOp::min, nan_min},
    {"pow", PointwiseOp::pow, [](double x, double z) { return std::pow(x, z); }},
};

/// True when `y` is `exact` within the bound: absolute below 1, relative above. Beyond the range of float, infinity.
bool close(float y, double exact) {
  if (std::isnan(exact)) return std::isnan(y);
  const auto rounded = static_cast<float>(exact);
  if (std::isinf(rounded) || std::isinf(y)) {
    // Within the bound of the overflow threshold either answer is right.
    return y == rounded || (std::fabs(exact) > 3.4e38 && std::fabs(y) > 3.4e38F && std::signbit(y) == (exact < 0));
  }
  return std::fabs(y - exact) <= kBound * std::max(1.0, std::fabs(exact));
}

std::vector<float> inputs() {
  std::vector<float> x{0.0F,   -0.0F,   1.0F,    -1.0F,   0.5F,    -0.5F,   2.5F,    kInf,    -kInf,    kNan,
                       1e-45F, -1e-45F, 1e-39F,  1e-38F,  -1e-38F, 1e-20F,  1e20F,   3.4e38F, -3.4e38F, 88.7F,
                       88.8F,  -87.3F,  -103.9F, -104.5F, 0.2999F, 0.3001F, 0.4999F, 0.5001F, -0.3F,    0.7071068F};
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0.0F, 3.0F);
  std::uniform_real_distribution<float> wide(-100.0F, 100.0F);
  for (int i = 0; i < 600; ++i) x.push_back(i % 3 == 0 ? wide(random) : normal(random));
  return x;
}

class PointwiseVariants : public testing::TestWithParam<const PointwiseKernel*> {
 protected:
  void SetUp() override {
    if (!cpu_features().has(GetParam()->isa)) GTEST_SKIP() << "this CPU lacks " << isa_name(GetParam()->isa);
  }
};

TEST_P(PointwiseVariants, AgreeWithDoubleOnOrdinaryAndSpecialValues) {
  const auto a = inputs();
  std::vector<float> b = a;
  std::rotate(b.begin(), b.begin() + 11, b.end());
  const auto n = static_cast<int64_t>(a.size());
  std::vector<float> y(a.size());
  for (const Function& f : kFunctions) {
    GetParam()->fn(f.op, n, a.data(), b.data(), y.data(), kAlpha, kBeta);
    int shown = 0;
    for (size_t i = 0; i < a.size() && shown < 5; ++i) {
      const double exact = f.exact(a[i], b[i]);
      if (close(y[i], exact)) continue;
      ++shown;
      ADD_FAILURE() << GetParam()->name << " " << f.name << "(" << a[i] << ", " << b[i] << ") = " << y[i] << ", exact "
                    << exact;
    }
  }
}

TEST_P(PointwiseVariants, QuantiseToEvenAndSaturate) {
  const std::vector<float> x{0.0F, 0.15F, 0.25F, -0.25F, 0.75F, 100.0F, -100.0F, kInf, -kInf, kNan};
  std::vector<float> y(x.size());
  const auto n = static_cast<int64_t>(x.size());
  GetParam()->fn(PointwiseOp::quantize_i8, n, x.data(), x.data(), y.data(), 0.5F, 3.0F);
  EXPECT_EQ(y, (std::vector<float>{3, 3, 3, 3, 5, 127, -128, 127, -128, 3}));
  GetParam()->fn(PointwiseOp::quantize_u8, n, x.data(), x.data(), y.data(), 0.5F, 128.0F);
  EXPECT_EQ(y, (std::vector<float>{128, 128, 128, 128, 130, 255, 0, 255, 0, 128}));
}

TEST_P(PointwiseVariants, WriteExactlyNElementsAlsoInPlace) {
  const auto a = inputs();
  for (const int64_t n : {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 127}) {
    for (const Function& f : kFunctions) {
      std::vector<float> y(static_cast<size_t>(n) + 16, 42.0F);
      GetParam()->fn(f.op, n, a.data() + 1, a.data() + 3, y.data(), kAlpha, kBeta);
      for (size_t i = static_cast<size_t>(n); i < y.size(); ++i)
        ASSERT_EQ(y[i], 42.0F) << GetParam()->name << " " << f.name << " n=" << n;
      std::vector<float> left(a.begin() + 1, a.begin() + 1 + n);
      GetParam()->fn(f.op, n, left.data(), a.data() + 3, left.data(), kAlpha, kBeta);
      std::vector<float> right(a.begin() + 3, a.begin() + 3 + n);
      GetParam()->fn(f.op, n, a.data() + 1, right.data(), right.data(), kAlpha, kBeta);
      for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
        ASSERT_TRUE(left[i] == y[i] || (std::isnan(left[i]) && std::isnan(y[i]))) << f.name << " in place, first";
        if (is_binary(f.op)) {
          ASSERT_TRUE(right[i] == y[i] || (std::isnan(right[i]) && std::isnan(y[i]))) << f.name << " in place, second";
        }
      }
    }
  }
}

std::vector<const PointwiseKernel*> rows() {
  std::vector<const PointwiseKernel*> out;
  for (const PointwiseKernel& k : pointwise_kernels()) out.push_back(&k);
  return out;
}

INSTANTIATE_TEST_SUITE_P(Table, PointwiseVariants, testing::ValuesIn(rows()),
                         [](const auto& row) { return std::string(row.param->name); });

TEST(PointwiseTable, EndsWithARowForEveryMachine) {
  ASSERT_FALSE(pointwise_kernels().empty());
  EXPECT_EQ(pointwise_kernels().back().isa, Isa::baseline);
  EXPECT_TRUE(cpu_features().has(best_pointwise_kernel().isa));
}

TEST(PointwiseTable, KnowsOnnxNames) {
  EXPECT_EQ(find_pointwise_op("Add"), PointwiseOp::add);
  EXPECT_EQ(find_pointwise_op("Gelu"), PointwiseOp::gelu);
  EXPECT_EQ(find_pointwise_op("Gelu", true), PointwiseOp::gelu_tanh);
  EXPECT_EQ(find_pointwise_op("Conv"), std::nullopt);
}

}  // namespace
}  // namespace planish::kernels
