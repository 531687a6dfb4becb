#include "planish/quant/dynamic_to_static.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "planish/ir/text.h"
#include "planish/ops/op.h"

namespace planish {
namespace {

Graph parse(const char* text) {
  auto graph = parse_text(text, "test");
  EXPECT_TRUE(graph.ok()) << graph.error().message();
  return std::move(graph).value();
}

int64_t count(const Graph& g, std::string_view op) {
  return std::ranges::count_if(g.nodes, [op](const Node& n) { return n.op == op; });
}

/// Relative L2 distance of the first outputs of both graphs for seeded inputs.
double distance(const Graph& a, const Graph& b, Shape shape) {
  const std::vector<Tensor> inputs{seeded_tensor(DType::f32, std::move(shape), 3, -1, 2)};
  const auto x = interpret(a, inputs);
  const auto y = interpret(b, inputs);
  EXPECT_TRUE(x.ok() && y.ok());
  if (!x.ok() || !y.ok()) return 1;
  double off = 0;
  double size = 0;
  for (int64_t i = 0; i < (*x)[0].size(); ++i) {
    off += std::pow((*x)[0].at(i) - (*y)[0].at(i), 2);
    size += std::pow((*x)[0].at(i), 2);
  }
  return std::sqrt(off / size);
}

const char* const kMatMul =
    "graph \"g\" (x: f32[3,16]) -> (y) {\n"
    " const w: i8[16,8] = seed(1, -127, 128)\n const ws: f32[8] = seed(2, 0.01, 0.02)\n"
    " const wz: i8[8] = seed(3, 0, 1)\n const b: f32[8] = seed(4)\n"
    " q, s, z = DynamicQuantizeLinear(x) @q\n sums = MatMulInteger(q, w, z, wz) @product\n"
    " real = Cast(sums) {to = 1} @cast\n scale = Mul(s, ws) @scales\n scaled = Mul(real, scale) @scaled\n"
    " y = Add(scaled, b) @bias\n}";

TEST(DynamicToStatic, MatMulGetsFloatWeights) {
  const Graph g = parse(kMatMul);
  const auto form = dynamic_to_static(g);
  ASSERT_TRUE(form.ok()) << form.error().message();
  EXPECT_EQ(form->products, 1);
  EXPECT_EQ(form->left, 0);
  ASSERT_EQ(form->graph.nodes.size(), 2U);
  const auto product = std::ranges::find(form->graph.nodes, std::string("MatMul"), &Node::op);
  ASSERT_NE(product, form->graph.nodes.end());
  EXPECT_EQ(product->name, "product");
  EXPECT_NE(form->graph.constant_of(product->in(1)), nullptr);
  EXPECT_LT(distance(g, form->graph, {3, 16}), 0.02);
}

TEST(DynamicToStatic, ConvWithScalesBroadcastOverChannels) {
  const Graph g = parse(
      "graph \"g\" (x: f32[1,4,6,6]) -> (y) {\n const w: u8[5,4,3,3] = seed(1, 0, 256)\n"
      " const ws: f32[1,5,1,1] = seed(2, 0.01, 0.02)\n const wz: u8[5] = seed(3, 120, 130)\n"
      " q, s, z = DynamicQuantizeLinear(x) @q\n sums = ConvInteger(q, w, z, wz) {pads = [1,1,1,1]} @product\n"
      " real = Cast(sums) {to = 1} @cast\n scaled = Mul(s, real) @by_x\n y = Mul(scaled, ws) @by_w\n}");
  const auto form = dynamic_to_static(g);
  ASSERT_TRUE(form.ok()) << form.error().message();
  EXPECT_EQ(form->products, 1);
  EXPECT_EQ(count(form->graph, "Conv"), 1);
  EXPECT_EQ(form->graph.nodes.size(), 1U);
  EXPECT_LT(distance(g, form->graph, {1, 4, 6, 6}), 0.02);
}

TEST(DynamicToStatic, ProductOfTwoQuantisedTensors) {
  const Graph g = parse(
      "graph \"g\" (x: f32[6,6]) -> (y) {\n q, s, z = DynamicQuantizeLinear(x) @q\n"
      " sums = MatMulInteger(q, q, z, z) @product\n real = Cast(sums) {to = 1} @cast\n"
      " scale = Mul(s, s) @scales\n y = Mul(real, scale) @scaled\n}");
  const auto form = dynamic_to_static(g);
  ASSERT_TRUE(form.ok()) << form.error().message();
  EXPECT_EQ(form->products, 1);
  EXPECT_EQ(form->graph.nodes.size(), 1U);
  EXPECT_LT(distance(g, form->graph, {6, 6}), 0.02);
}

TEST(DynamicToStatic, WhatNobodyScalesStays) {
  const Graph g = parse(
      "graph \"g\" (x: f32[2,4]) -> (sums) {\n const w: i8[4,4] = seed(1, -127, 128)\n"
      " q, s, z = DynamicQuantizeLinear(x) @q\n sums = MatMulInteger(q, w, z) @product\n}");
  const auto form = dynamic_to_static(g);
  ASSERT_TRUE(form.ok()) << form.error().message();
  EXPECT_EQ(form->products, 0);
  EXPECT_EQ(form->left, 1);
  EXPECT_EQ(count(form->graph, "MatMulInteger"), 1);
}

}  // namespace
}  // namespace planish
