#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

#include "proto_builder.h"

namespace planish {
namespace {

using namespace testing;

constexpr auto kBytes = onnx::TensorProto::UINT8;

onnx::ModelProto microsoft_model() {
  auto m = model(17);
  auto* domain = m.add_opset_import();
  domain->set_domain("com.microsoft");
  domain->set_version(1);
  return m;
}

void bytes(onnx::GraphProto* g, const std::string& name, const std::vector<int64_t>& dims, int32_t value,
           onnx::TensorProto::DataType type = kBytes) {
  auto* t = g->add_initializer();
  t->set_name(name);
  t->set_data_type(type);
  int64_t count = 1;
  for (const int64_t d : dims) {
    t->add_dims(d);
    count *= d;
  }
  for (int64_t i = 0; i < count; ++i) t->add_int32_data(value);
}

int64_t count_of(const Graph& g, std::string_view op) {
  return std::ranges::count_if(g.nodes, [op](const Node& n) { return n.op == op && n.domain.empty(); });
}

const Node* find(const Graph& g, std::string_view op) {
  const auto it = std::ranges::find(g.nodes, op, &Node::op);
  return it == g.nodes.end() ? nullptr : &*it;
}

TEST(QuantisedAdapters, QLinearConvKeepsItsNameAndGetsAScaleForItsBias) {
  auto m = model(17);
  auto g = main_graph(m);
  g.input("x", {1, 2, 3, 3}, kBytes).output("y", kBytes);
  g.floats("xs", {1}, {0.5F}).floats("ws", {2}, {0.25F, 0.125F}).floats("ys", {}, {2});
  bytes(g.graph, "z", {1}, 3);
  bytes(g.graph, "w", {2, 2, 1, 1}, 7);
  bytes(g.graph, "wz", {}, 0);
  bytes(g.graph, "b", {2}, 9, onnx::TensorProto::INT32);
  g.node("QLinearConv", {"x", "xs", "z", "w", "ws", "wz", "ys", "z", "b"}, {"y"}, "conv");
  const auto imported = import(m);
  ASSERT_TRUE(imported.ok()) << message_of(imported);
  const Graph& graph = imported->graph;
  EXPECT_EQ(count_of(graph, "DequantizeLinear"), 3);
  EXPECT_EQ(count_of(graph, "QuantizeLinear"), 1);
  const Node* conv = find(graph, "Conv");
  ASSERT_NE(conv, nullptr);
  EXPECT_EQ(conv->name, "conv");
  for (const Node& n : graph.nodes) EXPECT_EQ(n.origins, std::vector<std::string>{"conv"});
  const auto bias = std::ranges::find(graph.nodes, std::vector{conv->in(2)}, &Node::outputs);
  ASSERT_NE(bias, graph.nodes.end());
  const Tensor* scale = graph.constant_of(bias->in(1));
  ASSERT_NE(scale, nullptr);
  EXPECT_EQ(scale->shape(), (Shape{2}));
  EXPECT_EQ(scale->at(1), 0.0625);
  // A zero point has the shape of its scale, and one element is a scalar.
  const auto weights = std::ranges::find(graph.nodes, std::vector{conv->in(1)}, &Node::outputs);
  EXPECT_EQ(graph.constant_of(weights->in(2))->shape(), (Shape{2}));
  const auto input = std::ranges::find(graph.nodes, std::vector{conv->in(0)}, &Node::outputs);
  EXPECT_EQ(graph.constant_of(input->in(1))->rank(), 0);
}

TEST(QuantisedAdapters, SoftmaxKeepsTheMeaningThatItsNodeNames) {
  auto m = microsoft_model();
  auto g = main_graph(m);
  g.input("x", {2, 3, 4}, kBytes).output("y", kBytes);
  g.floats("s", {}, {0.1F});
  bytes(g.graph, "z", {}, 0);
  auto& node = g.node("QLinearSoftmax", {"x", "s", "z", "s", "z"}, {"y"});
  node.set_domain("com.microsoft");
  int_attr(node, "axis", 1);
  int_attr(node, "opset", 13);
  const auto imported = import(m);
  ASSERT_TRUE(imported.ok()) << message_of(imported);
  EXPECT_EQ(count_of(imported->graph, "Flatten"), 0);
  EXPECT_EQ(find(imported->graph, "Softmax")->attr_int("axis", 9), 1);
}

TEST(QuantisedAdapters, FusedMatMulWaitsForTheRanks) {
  auto m = microsoft_model();
  auto g = main_graph(m);
  g.input("a", {2, 3, 5, 8}).input("b", {2, 3, 6, 8}).output("y");
  g.node("Neg", {"b"}, {"c"});
  auto& first = g.node("FusedMatMul", {"a", "c"}, {"scores"});
  auto& second = g.node("FusedMatMul", {"scores", "a"}, {"y"});
  for (auto* node : {&first, &second}) node->set_domain("com.microsoft");
  int_attr(first, "transB", 1);
  int_attr(second, "transA", 1);
  const auto imported = import(m);
  ASSERT_TRUE(imported.ok()) << message_of(imported);
  EXPECT_EQ(count_of(imported->graph, "MatMul"), 2);
  EXPECT_EQ(count_of(imported->graph, "Transpose"), 2);
}

TEST(QuantisedAdapters, RefusesWhatIsMissing) {
  auto m = microsoft_model();
  auto g = main_graph(m);
  g.input("x", {2, 3}, kBytes).output("y", kBytes);
  g.node("QLinearSigmoid", {"x"}, {"y"}, "act").set_domain("com.microsoft");
  const auto imported = import(m);
  ASSERT_FALSE(imported.ok());
  EXPECT_NE(message_of(imported).find("lacks its input 1"), std::string::npos);
}

TEST(QuantisedAdapters, RefusesSizesThatDoNotFit) {
  for (const int64_t n : {int64_t{-1}, int64_t{3}, int64_t{1} << 62}) {
    auto m = microsoft_model();
    auto g = main_graph(m);
    g.input("x", {2, 32}).output("y");
    g.floats("s", {2, 1}, {1, 1});
    bytes(g.graph, "w", {2, 1, 16}, 1);
    auto& node = g.node("MatMulNBits", {"x", "w", "s"}, {"y"});
    node.set_domain("com.microsoft");
    int_attr(node, "K", 32);
    int_attr(node, "N", n);
    int_attr(node, "block_size", 32);
    EXPECT_FALSE(import(m).ok()) << n;
  }
}

TEST(QuantisedAdapters, UnknownOperatorsAreListed) {
  auto m = microsoft_model();
  auto g = main_graph(m);
  g.input("x", {2, 3}).output("y");
  g.node("GroupQueryAttention", {"x"}, {"y"}, "gqa").set_domain("com.microsoft");
  const auto imported = import(m);
  ASSERT_FALSE(imported.ok());
  EXPECT_NE(message_of(imported).find("GroupQueryAttention (domain 'com.microsoft'"), std::string::npos);
}

}  // namespace
}  // namespace planish
