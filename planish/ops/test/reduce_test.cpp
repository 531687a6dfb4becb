#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "planish/ops/test/tensor_values.h"

namespace planish::test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

Tensor axes(const std::vector<double>& values) {
  return tensor(DType::i64, {static_cast<int64_t>(values.size())}, values);
}

TEST(Reduce, AxesAndKeepdims) {
  const Tensor x = tensor(DType::f32, {2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8});
  const auto middle = run_node({.op = "ReduceSum"}, {x, axes({1})});
  EXPECT_EQ(middle.value()[0].shape(), (Shape{2, 1, 2}));
  EXPECT_EQ(values_of(middle), (std::vector<double>{4, 6, 12, 14}));
  const auto outer = run_node({.op = "ReduceMean", .attrs = {{"keepdims", int64_t{0}}}}, {x, axes({-1, 0})});
  EXPECT_EQ(outer.value()[0].shape(), (Shape{2}));
  EXPECT_EQ(values_of(outer), (std::vector<double>{3.5, 5.5}));
  EXPECT_FALSE(run_node({.op = "ReduceSum"}, {x, axes({3})}).ok());
}

TEST(Reduce, NoAxesMeanAllOrNone) {
  const Tensor x = tensor(DType::f32, {3}, {1, -2, 2});
  EXPECT_EQ(values_of(run_node({.op = "ReduceL2"}, {x})), (std::vector<double>{3}));
  EXPECT_EQ(values_of(run_node({.op = "ReduceSumSquare", .attrs = {{"noop_with_empty_axes", int64_t{1}}}}, {x})),
            (std::vector<double>{1, 4, 4}));
}

TEST(Reduce, EmptySetsGiveTheNeutralElement) {
  const Tensor none(DType::f32, {2, 0});
  EXPECT_EQ(values_of(run_node({.op = "ReduceMax"}, {none, axes({1})})), (std::vector<double>{-kInf, -kInf}));
  EXPECT_EQ(values_of(run_node({.op = "ReduceProd"}, {none, axes({1})})), (std::vector<double>{1, 1}));
  EXPECT_EQ(values_of(run_node({.op = "ReduceLogSumExp"}, {none, axes({1})})), (std::vector<double>{-kInf, -kInf}));
  EXPECT_EQ(values_of(run_node({.op = "ReduceMin"}, {Tensor(DType::i8, {0})})), (std::vector<double>{127}));
}

TEST(Reduce, LongSumsOfFloatsStayAccurate) {
  Tensor x(DType::f32, {1 << 20});
  for (float& v : x.span<float>()) v = 0.1F;
  EXPECT_NEAR(values_of(run_node({.op = "ReduceSum"}, {x}))[0], 104857.6, 0.01);
}

TEST(Reduce, LogSumExpDoesNotOverflow) {
  const auto out = values_of(run_node({.op = "ReduceLogSumExp"}, {tensor(DType::f32, {2}, {1000, 1000})}));
  EXPECT_NEAR(out[0], 1000.0 + std::log(2.0), 1e-4);
}

TEST(ArgMax, FirstOrLastOfEqualElements) {
  const Tensor x = tensor(DType::i32, {2, 3}, {1, 3, 3, 5, 5, 0});
  EXPECT_EQ(values_of(run_node({.op = "ArgMax", .attrs = {{"axis", int64_t{1}}}}, {x})), (std::vector<double>{1, 0}));
  EXPECT_EQ(
      values_of(run_node({.op = "ArgMax", .attrs = {{"axis", int64_t{1}}, {"select_last_index", int64_t{1}}}}, {x})),
      (std::vector<double>{2, 1}));
  EXPECT_EQ(values_of(run_node({.op = "ArgMin"}, {x})), (std::vector<double>{0, 0, 1}));
  EXPECT_FALSE(run_node({.op = "ArgMax"}, {Tensor(DType::f32, {0, 2})}).ok());
}

TEST(CumSum, ExclusiveAndReverse) {
  const Tensor x = tensor(DType::i64, {3}, {1, 2, 3});
  const auto run = [&x](int64_t exclusive, int64_t reverse) {
    return values_of(run_node({.op = "CumSum", .attrs = {{"exclusive", exclusive}, {"reverse", reverse}}},
                              {x, Tensor::scalar_i64(0)}));
  };
  EXPECT_EQ(run(0, 0), (std::vector<double>{1, 3, 6}));
  EXPECT_EQ(run(1, 0), (std::vector<double>{0, 1, 3}));
  EXPECT_EQ(run(0, 1), (std::vector<double>{6, 5, 3}));
  EXPECT_EQ(run(1, 1), (std::vector<double>{5, 3, 0}));
}

TEST(Softmax, SumsToOneAlongTheAxis) {
  const Tensor x = tensor(DType::f32, {2, 2}, {1000, 0, 1000, 0});
  EXPECT_EQ(values_of(run_node({.op = "Softmax", .attrs = {{"axis", int64_t{0}}}}, {x})),
            (std::vector<double>{0.5, 0.5, 0.5, 0.5}));
  EXPECT_EQ(values_of(run_node({.op = "Hardmax"}, {x})), (std::vector<double>{1, 0, 1, 0}));
  EXPECT_FALSE(run_node({.op = "Softmax", .attrs = {{"axis", int64_t{2}}}}, {x}).ok());
}

TEST(Range, CountsAndRefusesEndlessRanges) {
  const auto range = [](double a, double b, double c) {
    return run_node({.op = "Range"},
                    {tensor(DType::f32, {}, {a}), tensor(DType::f32, {}, {b}), tensor(DType::f32, {}, {c})});
  };
  EXPECT_EQ(values_of(range(10, 4, -2)), (std::vector<double>{10, 8, 6}));
  EXPECT_EQ(range(4, 4, 1).value()[0].size(), 0);
  EXPECT_FALSE(range(0, 1, 0).ok());
  EXPECT_FALSE(range(0, kInf, 1).ok());
}

}  // namespace
}  // namespace planish::test
