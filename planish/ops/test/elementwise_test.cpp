#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "planish/ops/broadcast.h"
#include "planish/ops/elementwise.h"
#include "planish/ops/pointwise.h"
#include "planish/ops/test/tensor_values.h"

namespace planish::test {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

std::vector<double> binary(const char* op, DType type, std::vector<double> a, std::vector<double> b,
                           std::map<std::string, Attr> attrs = {}) {
  const Tensor x = tensor(type, {static_cast<int64_t>(a.size())}, a);
  const Tensor y = tensor(type, {static_cast<int64_t>(b.size())}, b);
  return values_of(run_node({.op = op, .attrs = std::move(attrs)}, {x, y}));
}

TEST(Unary, EveryRowOfTheTableIsAnOperatorAndKeepsShape) {
  for (const UnaryFunction& f : unary_functions()) {
    const DType type = f.op == "BitwiseNot" ? DType::i32 : (f.op == "Not" ? DType::boolean : DType::f32);
    const auto out = run_node({.op = std::string(f.op)}, {tensor(type, {3, 5}, {0.5, 0.25})});
    ASSERT_TRUE(out.ok()) << f.op << ": " << out.error().message();
    EXPECT_EQ(out.value()[0].shape(), (Shape{3, 5})) << f.op;
  }
}

TEST(Unary, KnownValues) {
  const auto at = [](const char* op, double x) {
    const UnaryFunction* f = find_unary_function(op);
    return f->scalar(x, f->default_params());
  };
  EXPECT_DOUBLE_EQ(at("Sigmoid", 0.0), 0.5);
  EXPECT_EQ(at("Sigmoid", -1e9), 0.0);
  EXPECT_NEAR(at("Gelu", 1.0), 0.8413447460685429, 1e-15);
  EXPECT_NEAR(at("Softplus", 1000.0), 1000.0, 1e-12);
  EXPECT_NEAR(at("Swish", 1.0), 0.7310585786300049, 1e-15);
  EXPECT_EQ(at("HardSwish", 3.0), 3.0);
  EXPECT_EQ(at("HardSwish", -3.0), 0.0);
  EXPECT_EQ(at("Round", 2.5), 2.0);
  EXPECT_TRUE(std::isnan(at("Relu", kNaN)));
  EXPECT_TRUE(std::isnan(at("Sign", kNaN)));
}

TEST(Unary, ParametersComeFromTheAttributes) {
  const Tensor x = tensor(DType::f32, {2}, {-2, 4});
  EXPECT_EQ(values_of(run_node({.op = "LeakyRelu", .attrs = {{"alpha", 0.5F}}}, {x})), (std::vector<double>{-1, 4}));
  EXPECT_EQ(values_of(run_node({.op = "ThresholdedRelu", .attrs = {{"alpha", 5.0F}}}, {x})),
            (std::vector<double>{0, 0}));
  const Tensor infinities = tensor(DType::f32, {2}, {-kInf, kInf});
  EXPECT_EQ(values_of(run_node({.op = "IsInf", .attrs = {{"detect_negative", int64_t{0}}}}, {infinities})),
            (std::vector<double>{0, 1}));
}

TEST(Unary, RefusesComplexNumbers) {
  EXPECT_FALSE(run_node({.op = "Abs"}, {Tensor(DType::c64, {2})}).ok());
  EXPECT_FALSE(run_node({.op = "Exp"}, {Tensor()}).ok());
}

TEST(Binary, IntegersStayExactBeyondTheMantissaOfDouble) {
  const int64_t big = (int64_t{1} << 62) + 1;
  const Tensor a = Tensor::scalar_i64(big);
  const auto sum = run_node({.op = "Add"}, {a, Tensor::scalar_i64(2)});
  EXPECT_EQ(sum.value()[0].int_at(0), big + 2);
  EXPECT_EQ(run_node({.op = "Equal"}, {a, Tensor::scalar_i64(big - 1)}).value()[0].at(0), 0.0);
  const auto power = run_node({.op = "Pow"}, {Tensor::scalar_i64(3), Tensor::scalar_i64(39)});
  EXPECT_EQ(power.value()[0].int_at(0), 4052555153018976267);
}

TEST(Binary, IntegerDivisionNeverTraps) {
  const int64_t lowest = std::numeric_limits<int64_t>::min();
  for (const char* op : {"Div", "Mod"})
    for (const int64_t divisor : {int64_t{0}, int64_t{-1}})
      EXPECT_TRUE(run_node({.op = op}, {Tensor::scalar_i64(lowest), Tensor::scalar_i64(divisor)}).ok());
  EXPECT_EQ(binary("Div", DType::i32, {-7, 7}, {2, -2}), (std::vector<double>{-3, -3}));
}

TEST(Binary, ModFollowsTheSignThatFmodChooses) {
  EXPECT_EQ(binary("Mod", DType::i32, {-4, 5}, {3, -3}), (std::vector<double>{2, -1}));
  EXPECT_EQ(binary("Mod", DType::i32, {-4, 5}, {3, -3}, {{"fmod", int64_t{1}}}), (std::vector<double>{-1, 2}));
  EXPECT_EQ(binary("Mod", DType::f32, {-0.5}, {kInf}), (std::vector<double>{kInf}));
}

TEST(Binary, NarrowIntegersWrapAndShiftInTheirOwnWidth) {
  EXPECT_EQ(binary("Add", DType::u8, {250}, {10}), (std::vector<double>{4}));
  EXPECT_EQ(binary("BitShift", DType::u8, {255}, {4}, {{"direction", std::string("LEFT")}}),
            (std::vector<double>{240}));
  EXPECT_EQ(binary("BitShift", DType::i8, {-128, 4}, {100, 1}, {{"direction", std::string("RIGHT")}}),
            (std::vector<double>{-1, 2}));
}

TEST(Binary, BroadcastsBothWays) {
  const auto out = run_node({.op = "Sub"}, {tensor(DType::f32, {2, 1}, {10, 20}), tensor(DType::f32, {3}, {1, 2, 3})});
  EXPECT_EQ(out.value()[0].shape(), (Shape{2, 3}));
  EXPECT_EQ(values_of(out), (std::vector<double>{9, 8, 7, 19, 18, 17}));
  EXPECT_FALSE(run_node({.op = "Sub"}, {Tensor(DType::f32, {2}), Tensor(DType::f32, {3})}).ok());
  EXPECT_EQ(run_node({.op = "Add"}, {Tensor(DType::f32, {0, 3}), Tensor(DType::f32, {3})}).value()[0].size(), 0);
}

TEST(Binary, HalfPrecisionRoundsOnce) {
  // 2049 is no binary16 value: 2048 + 1 rounds to the even neighbour.
  EXPECT_EQ(binary("Add", DType::f16, {2048, 2048}, {1, 3}), (std::vector<double>{2048, 2052}));
}

TEST(Variadic, FoldsAllInputsAndLetsNaNWin) {
  const Tensor a = tensor(DType::f32, {3}, {1, kNaN, 3});
  const Tensor b = tensor(DType::f32, {}, {2});
  const auto max = values_of(run_node({.op = "Max"}, {a, b, b}));
  EXPECT_EQ(max[0], 2);
  EXPECT_TRUE(std::isnan(max[1]));
  EXPECT_EQ(values_of(run_node({.op = "Mean"}, {b, tensor(DType::f32, {2}, {4, 6}), b})),
            (std::vector<double>{8.0F / 3.0F, 10.0F / 3.0F}));
}

TEST(Where, ChoosesPerElement) {
  const auto out = run_node({.op = "Where"}, {tensor(DType::boolean, {2, 1}, {1, 0}),
                                              tensor(DType::i64, {3}, {1, 2, 3}), tensor(DType::i64, {}, {9})});
  EXPECT_EQ(values_of(out), (std::vector<double>{1, 2, 3, 9, 9, 9}));
}

TEST(Clip, MaximumWinsAndBoundsAreOptional) {
  const Tensor x = tensor(DType::i64, {3}, {-5, 0, 5});
  EXPECT_EQ(values_of(run_node({.op = "Clip"}, {x, Tensor(), Tensor::scalar_i64(2)})), (std::vector<double>{-5, 0, 2}));
  EXPECT_EQ(values_of(run_node({.op = "Clip"}, {x, Tensor::scalar_i64(4), Tensor::scalar_i64(1)})),
            (std::vector<double>{1, 1, 1}));
}

TEST(Broadcast, CursorMergesDimensionsIntoLongRuns) {
  const Shape out{2, 3, 4};
  StridedCursor whole(out, broadcast_strides(Shape{2, 3, 4}, out));
  EXPECT_EQ(whole.next(1000).length, 24);
  StridedCursor repeated(out, broadcast_strides(Shape{3, 1}, out));
  EXPECT_EQ(repeated.next(1000).stride, 0);
  EXPECT_EQ(repeated.next(1000).offset, 1);
}

TEST(Broadcast, ReaderEqualsIndexArithmeticForEveryBlockSize) {
  const Shape out{2, 3, 5};
  const Tensor x = tensor(DType::f32, {2, 1, 5}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  for (int64_t block = 1; block <= 30; ++block) {
    BroadcastReader reader(x, out);
    std::vector<double> got(30);
    for (int64_t i = 0; i < 30; i += block) reader.read(std::min(block, 30 - i), got.data() + i);
    for (int64_t i = 0; i < 30; ++i) ASSERT_EQ(got[static_cast<size_t>(i)], x.at(i / 15 * 5 + i % 5)) << block;
  }
}

TEST(Pointwise, EqualsTheChainOfItsSteps) {
  const Tensor x = tensor(DType::f32, {2, 3}, {-3, -1, 0, 1, 2, 5});
  const Tensor b = tensor(DType::f32, {3}, {1, 0, -1});
  const std::vector<std::string> steps{"Add 0 1", "LeakyRelu 2 alpha=0.5", "Clip 3 min=-0.75 max=4", "Mul 4 0"};
  const auto fused = run_node({.op = "Pointwise", .domain = "planish", .attrs = {{"steps", steps}}}, {x, b});
  EXPECT_EQ(values_of(fused), (std::vector<double>{2.25, 0.5, 0, 2, 4, 20}));
}

TEST(Pointwise, ComparisonsAndWhereHaveTheRightTypes) {
  const Tensor x = tensor(DType::f16, {3}, {-1, 0, 1});
  Node node{.op = "Pointwise", .domain = "planish"};
  node.attrs["steps"] = std::vector<std::string>{"Greater 0 1"};
  const Tensor zero = tensor(DType::f16, {}, {0});
  EXPECT_EQ(run_node(node, {x, zero}).value()[0].dtype(), DType::boolean);
  node.attrs["steps"] = std::vector<std::string>{"Greater 0 1", "Where 2 0 1"};
  const auto out = run_node(node, {x, zero});
  EXPECT_EQ(out.value()[0].dtype(), DType::f16);
  EXPECT_EQ(values_of(out), (std::vector<double>{0, 0, 1}));
}

TEST(Pointwise, QuantisationSteps) {
  Node node{.op = "Pointwise", .domain = "planish"};
  node.attrs["steps"] =
      std::vector<std::string>{quantization_step(0, 0.5F, 10), "Add 2 1", quantization_step(3, 0.25F, 100, DType::u8)};
  const auto out = run_node(node, {tensor(DType::u8, {4}, {0, 10, 12, 255}), tensor(DType::f32, {1}, {0.125})});
  ASSERT_TRUE(out.ok()) << out.error().message();
  EXPECT_EQ((*out)[0].dtype(), DType::u8);
  EXPECT_EQ(values_of(out), (std::vector<double>{80, 100, 104, 255}));  // 100.5 and 104.5 round to even
  node.attrs["steps"] = std::vector<std::string>{"QuantizeLinear 0 scale=1 type=i8", "DequantizeLinear 1 scale=1"};
  EXPECT_EQ(run_node(node, {tensor(DType::f32, {1}, {-300})}).value()[0].at(0), -128);
  for (const char* bad : {"QuantizeLinear 0 scale=1", "QuantizeLinear 0 scale=0 type=i8", "DequantizeLinear 0 type=i8",
                          "QuantizeLinear 0 type=i32"}) {
    node.attrs["steps"] = std::vector<std::string>{bad};
    EXPECT_FALSE(run_node(node, {tensor(DType::f32, {1}, {1})}).ok()) << bad;
  }
}

TEST(Pointwise, RefusesBadPrograms) {
  for (const char* step : {"", "Add 0", "Add 0 2", "Nonsense 0", "Relu 0 alpha=1", "Relu x", "Relu 0 1",
                           "Clip 0 min=", "BitwiseAnd 0 0", "Where 0 0 0 0", "Relu -1"}) {
    Node node{.op = "Pointwise", .domain = "planish"};
    node.attrs["steps"] = std::vector<std::string>{step};
    EXPECT_FALSE(run_node(node, {tensor(DType::f32, {1}, {1})}).ok()) << step;
  }
}

TEST(Pointwise, StepTextReadsBack) {
  ScalarParams params{.alpha = 0.1F, .beta = 6};
  Node node{.op = "Pointwise", .domain = "planish", .inputs = {0}};
  node.attrs["steps"] = std::vector<std::string>{pointwise_step("Clip", {0}, &params)};
  const auto program = parse_pointwise(node);
  ASSERT_TRUE(program.ok()) << program.error().message();
  EXPECT_EQ(program.value().steps[0].params, params);
}

}  // namespace
}  // namespace planish::test
