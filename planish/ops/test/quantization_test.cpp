#include <gtest/gtest.h>

#include <cmath>

#include "planish/ops/test/tensor_values.h"

namespace planish::test {
namespace {

TEST(QuantizeLinear, RoundsToEvenThenAddsTheZeroPoint) {
  const Tensor x = tensor(DType::f32, {5}, {0.5, 1.5, 2.5, -1000, 1000});
  const Tensor one = tensor(DType::f32, {}, {1});
  const auto out = run_node({.op = "QuantizeLinear"}, {x, one, tensor(DType::i8, {}, {1})});
  EXPECT_EQ(out.value()[0].dtype(), DType::i8);
  EXPECT_EQ(values_of(out), (std::vector<double>{1, 3, 3, -128, 127}));
}

TEST(QuantizeLinear, PerAxisAndBlocked) {
  const Tensor x = tensor(DType::f32, {2, 3}, {2, 4, 6, 8, 10, 12});
  const Tensor per_axis = tensor(DType::f32, {3}, {1, 2, 3});
  EXPECT_EQ(values_of(run_node({.op = "QuantizeLinear"}, {x, per_axis})), (std::vector<double>{2, 2, 2, 8, 5, 4}));
  // Blocks of two along axis 1: the last block holds one element.
  const Tensor blocked = tensor(DType::f32, {2, 2}, {1, 2, 4, 6});
  const Node node{.op = "QuantizeLinear", .attrs = {{"axis", int64_t{1}}, {"block_size", int64_t{2}}}};
  EXPECT_EQ(values_of(run_node(node, {x, blocked})), (std::vector<double>{2, 4, 3, 2, 2, 2}));
  EXPECT_FALSE(run_node({.op = "QuantizeLinear"}, {x, tensor(DType::f32, {2}, {1, 1})}).ok());
}

TEST(QuantizeLinear, OutputTypes) {
  const Tensor x = tensor(DType::f32, {2}, {-100, 5.2});
  const Tensor one = tensor(DType::f32, {}, {1});
  const auto to = [&](DType type) {
    return run_node({.op = "QuantizeLinear", .attrs = {{"output_dtype", static_cast<int64_t>(type)}}}, {x, one});
  };
  EXPECT_EQ(values_of(to(DType::i4)), (std::vector<double>{-8, 5}));
  EXPECT_EQ(values_of(to(DType::f4e2m1)), (std::vector<double>{-6, 6}));
  EXPECT_EQ(values_of(to(DType::f8e4m3fn)), (std::vector<double>{-96, 5}));
  const Node clash{.op = "QuantizeLinear", .attrs = {{"output_dtype", static_cast<int64_t>(DType::i8)}}};
  EXPECT_FALSE(run_node(clash, {x, one, tensor(DType::u8, {}, {0})}).ok());
}

TEST(DequantizeLinear, UndoesQuantisation) {
  const Tensor q = tensor(DType::u4, {2, 2}, {0, 3, 15, 8});
  const auto out = run_node({.op = "DequantizeLinear", .attrs = {{"axis", int64_t{0}}}},
                            {q, tensor(DType::f16, {2}, {0.5, 2}), tensor(DType::u4, {2}, {1, 8})});
  EXPECT_EQ(out.value()[0].dtype(), DType::f16);
  EXPECT_EQ(values_of(out), (std::vector<double>{-0.5, 1, 14, 0}));
}

TEST(DynamicQuantizeLinear, CoversZeroAndSurvivesConstantInput) {
  const auto out = run_node({.op = "DynamicQuantizeLinear"}, {tensor(DType::f32, {3}, {0, 2, -3})}, 3);
  ASSERT_TRUE(out.ok());
  EXPECT_NEAR(out.value()[1].at(0), 5.0 / 255.0, 1e-7);
  EXPECT_EQ(out.value()[2].at(0), 153);
  EXPECT_EQ(values_of(out), (std::vector<double>{153, 255, 0}));
  EXPECT_EQ(values_of(run_node({.op = "DynamicQuantizeLinear"}, {tensor(DType::f32, {2}, {0, 0})}, 3)),
            (std::vector<double>{0, 0}));
}

TEST(MatMulInteger, ZeroPointsPerRowAndColumn) {
  const Tensor a = tensor(DType::u8, {2, 2}, {1, 2, 3, 4});
  const Tensor b = tensor(DType::i8, {2, 2}, {1, -1, 2, -2});
  const auto out =
      run_node({.op = "MatMulInteger"}, {a, b, tensor(DType::u8, {2}, {1, 3}), tensor(DType::i8, {2}, {1, -1})});
  // [[0,1],[0,1]] x [[0,0],[1,-1]]
  EXPECT_EQ(values_of(out), (std::vector<double>{1, -1, 1, -1}));
}

TEST(QLinearMatMul, Requantises) {
  const Tensor half = tensor(DType::f32, {}, {0.5});
  const Tensor zero = tensor(DType::u8, {}, {0});
  const Tensor a = tensor(DType::u8, {1, 2}, {10, 20});
  const Tensor b = tensor(DType::u8, {2, 1}, {3, 4});
  const auto out =
      run_node({.op = "QLinearMatMul"}, {a, half, zero, b, half, zero, half, tensor(DType::u8, {}, {100})});
  EXPECT_EQ(values_of(out), (std::vector<double>{155}));
}

TEST(QLinearConv, BiasAndPerChannelScales) {
  const Tensor one = tensor(DType::f32, {}, {1});
  const Tensor zero = tensor(DType::i8, {}, {0});
  const Tensor x = tensor(DType::i8, {1, 1, 1, 2}, {3, 5});
  const Tensor w = tensor(DType::i8, {2, 1, 1, 1}, {2, -2});
  const Tensor w_scale = tensor(DType::f32, {2}, {1, 0.5});
  const auto out = run_node({.op = "QLinearConv"}, {x, one, zero, w, w_scale, tensor(DType::i8, {2}, {0, 0}), one, zero,
                                                    tensor(DType::i32, {2}, {1, 100})});
  EXPECT_EQ(values_of(out), (std::vector<double>{7, 11, 47, 45}));
  EXPECT_FALSE(
      run_node({.op = "QLinearConv"}, {x, one, zero, w, tensor(DType::f32, {3}, {1, 1, 1}), zero, one, zero}).ok());
}

TEST(ConvInteger, PadsWithTheZeroPoint) {
  const Tensor x = tensor(DType::u8, {1, 1, 3}, {11, 12, 13});
  const Tensor w = tensor(DType::u8, {1, 1, 3}, {1, 1, 1});
  const Node node{.op = "ConvInteger", .attrs = {{"pads", std::vector<int64_t>{1, 1}}}};
  EXPECT_EQ(values_of(run_node(node, {x, w, tensor(DType::u8, {}, {10})})), (std::vector<double>{3, 6, 5}));
}

}  // namespace
}  // namespace planish::test
