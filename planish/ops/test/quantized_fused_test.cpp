#include <gtest/gtest.h>

#include "planish/ops/test/node_runner.h"

namespace planish::test {
namespace {

Node node(std::string op, std::map<std::string, Attr> attrs) {
  return {.op = std::move(op),
          .domain = "planish",
          .name = "q",
          .inputs = {},
          .outputs = {},
          .attrs = std::move(attrs),
          .origins = {}};
}

void expect_values(const Tensor& got, DType type, const std::vector<double>& want) {
  EXPECT_EQ(got.dtype(), type);
  ASSERT_EQ(got.size(), static_cast<int64_t>(want.size()));
  for (int64_t i = 0; i < got.size(); ++i) EXPECT_EQ(got.at(i), want[static_cast<size_t>(i)]) << "element " << i;
}

TEST(QuantizedConv, ScalesPerChannelBiasResidualAndActivation) {
  const Tensor x = tensor_of({1, 2, 1, 2}, {130, 126, 129, 128}, DType::u8);  // 2 -2 | 1 0
  const Tensor w = tensor_of({2, 2, 1, 1}, {1, 2, -3, 4}, DType::i8);
  const Tensor scale = tensor_of({2}, {0.5, 1});
  const Tensor bias = tensor_of({2}, {1, -1});
  const Tensor residual = tensor_of({1, 2, 1, 2}, {3, 1, 0, -7}, DType::i8);
  std::map<std::string, Attr> attrs{{"x_scale", 0.5F},
                                    {"x_zero", int64_t{128}},
                                    {"r_scale", 2.0F},
                                    {"r_zero", int64_t{1}},
                                    {"activation", std::string("Relu")}};
  // Sums 4 -2 | -2 6; scaled 1 -0.5 | -1 3; biased 2 0.5 | -2 2; residual 4 0 | -2 -16.
  expect_values(run_one(node("QuantizedConv", attrs), {x, w, scale, bias, residual}), DType::f32, {6, 0.5, 0, 0});
  attrs["residual_last"] = int64_t{1};
  expect_values(run_one(node("QuantizedConv", attrs), {x, w, scale, bias, residual}), DType::f32, {6, 0.5, -2, -14});
  attrs["y_type"] = std::string("i8");
  attrs["y_scale"] = 0.1F;
  attrs["y_zero"] = int64_t{-10};
  expect_values(run_one(node("QuantizedConv", attrs), {x, w, scale, bias, residual}), DType::i8, {50, -5, -30, -128});
}

TEST(QuantizedGlobalAveragePool, AveragesRealNumbers) {
  const Tensor x = tensor_of({1, 2, 1, 2}, {130, 127, 255, 128}, DType::u8);
  const std::map<std::string, Attr> attrs{{"x_scale", 0.5F}, {"x_zero", int64_t{128}}};
  expect_values(run_one(node("QuantizedGlobalAveragePool", attrs), {x}), DType::f32, {0.25, 31.75});
}

TEST(QuantizedInvertedResidual, IsItsParts) {
  const Tensor x = tensor_of({1, 1, 1, 2}, {3, -4}, DType::i8);
  const Tensor w = tensor_of({2, 1, 1, 1}, {2, -1}, DType::i8);
  const Tensor d = tensor_of({2, 1, 1, 1}, {3, 5}, DType::i8);
  const Tensor p = tensor_of({1, 2, 1, 1}, {1, 2}, DType::i8);
  const Tensor one = tensor_of({1}, {1});
  const Tensor bias = tensor_of({2}, {1, 0});
  std::map<std::string, Attr> attrs{{"expand_activation", std::string("Relu")},
                                    {"expand_y_type", std::string("u8")},
                                    {"depthwise_group", int64_t{2}},
                                    {"depthwise_y_type", std::string("i8")},
                                    {"depthwise_y_zero", int64_t{-1}},
                                    {"project_x_zero", int64_t{-1}},
                                    {"project_r_scale", 0.5F}};
  Node q = node("QuantizedInvertedResidual", attrs);
  // Expanded 7 0 | 0 4; each channel times its weight 21 0 | 0 20; their sum 21 40 and half of x.
  expect_values(run_one(q, {x, w, one, bias, d, one, {}, p, one, {}, x}), DType::f32, {22.5, 38});
}

TEST(QuantizedConv, PaddingIsTheZeroPointAndRoundingIsToEven) {
  const Tensor x = tensor_of({1, 1, 1, 2}, {5, 6}, DType::i8);
  const Tensor w = tensor_of({1, 1, 1, 3}, {1, 1, 1}, DType::i8);
  const std::map<std::string, Attr> attrs{{"x_zero", int64_t{4}},
                                          {"pads", std::vector<int64_t>{0, 1, 0, 1}},
                                          {"y_type", std::string("u8")},
                                          {"y_scale", 2.0F},
                                          {"y_zero", int64_t{7}}};
  expect_values(run_one(node("QuantizedConv", attrs), {x, w, tensor_of({1}, {1})}), DType::u8, {9, 9});
}

TEST(QuantizedMatMul, TransposedWeightsWithBiasOfTheColumns) {
  const Tensor a = tensor_of({2, 2}, {1, 2, 3, 4}, DType::u8);
  const Tensor b = tensor_of({3, 2}, {1, 0, 0, 1, -1, 1}, DType::i8);
  const std::map<std::string, Attr> attrs{
      {"trans_b", int64_t{1}}, {"a_scale", 0.5F}, {"a_zero", int64_t{1}}, {"y_type", std::string("i8")}};
  // A less 1: 0 1 | 2 3. Sums 0 1 1 | 2 3 1.
  expect_values(run_one(node("QuantizedMatMul", attrs), {a, b, tensor_of({3}, {2, 4, 8}), tensor_of({3}, {0, 10, 0})}),
                DType::i8, {0, 12, 4, 2, 16, 4});
}

TEST(QuantizedMatMul, TwoActivationsInABatch) {
  const Tensor a = tensor_of({2, 1, 2}, {1, 2, 3, 4}, DType::i8);
  const Tensor b = tensor_of({2, 2, 1}, {129, 128, 128, 130}, DType::u8);
  const std::map<std::string, Attr> attrs{{"alpha", 0.5F}, {"b_zero", int64_t{128}}};
  expect_values(run_one(node("QuantizedMatMul", attrs), {a, b, tensor_of({1}, {1})}), DType::f32, {0.5, 4});
}

TEST(QuantizedConv, RefusesWhatIsNoQuantisation) {
  const Tensor x = tensor_of({1, 1, 1, 1}, {1}, DType::i8);
  const Tensor one = tensor_of({1}, {1});
  EXPECT_FALSE(run_node(node("QuantizedConv", {{"x_scale", 0.0F}}), {x, x, one}).ok());
  EXPECT_FALSE(run_node(node("QuantizedConv", {{"y_type", std::string("i32")}}), {x, x, one}).ok());
  EXPECT_FALSE(run_node(node("QuantizedConv", {{"y_zero", int64_t{1000}}}), {x, x, one}).ok());
  EXPECT_FALSE(run_node(node("QuantizedConv", {}), {x, x, tensor_of({3}, {1, 1, 1})}).ok());
  EXPECT_FALSE(run_node(node("QuantizedConv", {}), {one, x, one}).ok());
}

}  // namespace
}  // namespace planish::test
