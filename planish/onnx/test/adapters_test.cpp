#include <gtest/gtest.h>

#include <stdexcept>

#include "planish/onnx/adapter.h"
#include "proto_builder.h"

namespace planish {
namespace {

using namespace testing;
using Values = std::vector<double>;

/// One node x -> y of an old opset.
struct OldModel {
  onnx::ModelProto proto;
  onnx::NodeProto* node;
  OldModel(const std::string& op, int64_t opset, const std::vector<int64_t>& dims) : proto(model(opset)) {
    auto g = main_graph(proto);
    g.input("x", dims).output("y");
    node = &g.node(op, {"x"}, {"y"});
  }
  GraphMaker graph() { return main_graph(proto); }
};

TEST(Adapters, TableIsSortedAndRangesAreSane) {
  const auto rows = all_adapters();
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_LE(rows[i].from, rows[i].to) << rows[i].op;
    if (i > 0) {
      EXPECT_LE(rows[i - 1].op, rows[i].op);
    }
  }
}

TEST(Adapters, AxesAttributesBecomeInputs) {
  OldModel squeeze("Squeeze", 11, {1, 2});
  ints_attr(*squeeze.node, "axes", {0});
  EXPECT_EQ(run(squeeze.proto, {floats({1, 2}, {3, 4})}), (Values{3, 4}));
  OldModel reduce("ReduceMax", 13, {2, 2});
  ints_attr(*reduce.node, "axes", {1});
  EXPECT_EQ(run(reduce.proto, {floats({2, 2}, {1, 2, 4, 3})}), (Values{2, 4}));
  OldModel sum("ReduceSum", 11, {2, 2});
  ints_attr(*sum.node, "axes", {0});
  EXPECT_EQ(run(sum.proto, {floats({2, 2}, {1, 2, 4, 3})}), (Values{5, 5}));
}

TEST(Adapters, Slice1) {
  OldModel m("Slice", 9, {4});
  ints_attr(*m.node, "starts", {1});
  ints_attr(*m.node, "ends", {3});
  EXPECT_EQ(run(m.proto, {floats({4}, {0, 1, 2, 3})}), (Values{1, 2}));
}

TEST(Adapters, Split2AndSplit13WithoutSizes) {
  for (const int64_t opset : {11, 13}) {
    auto m = model(opset);
    auto g = main_graph(m);
    g.input("x", {4}).output("b");
    g.node("Split", {"x"}, {"a", "b"});
    EXPECT_EQ(run(m, {floats({4}, {0, 1, 2, 3})}), (Values{2, 3})) << opset;
  }
}

TEST(Adapters, Clip6) {
  OldModel m("Clip", 10, {3});
  float_attr(*m.node, "min", -1);
  float_attr(*m.node, "max", 2);
  EXPECT_EQ(run(m.proto, {floats({3}, {-5, 1, 9})}), (Values{-1, 1, 2}));
}

TEST(Adapters, Pad2) {
  OldModel m("Pad", 10, {2});
  ints_attr(*m.node, "pads", {1, 2});
  float_attr(*m.node, "value", 7);
  EXPECT_EQ(run(m.proto, {floats({2}, {1, 2})}), (Values{7, 1, 2, 7, 7}));
}

TEST(Adapters, TopK1) {
  auto m = model(9);
  auto g = main_graph(m);
  g.input("x", {3}).output("values");
  int_attr(g.node("TopK", {"x"}, {"values", "indices"}), "k", 2);
  EXPECT_EQ(run(m, {floats({3}, {1, 3, 2})}), (Values{3, 2}));
}

TEST(Adapters, SoftmaxBefore13WorksOnAMatrix) {
  // Both of the two last dimensions share one sum.
  OldModel m("Softmax", 11, {1, 2, 2});
  const Values got = run(m.proto, {floats({1, 2, 2}, {0, 0, 0, 0})});
  EXPECT_EQ(got, (Values{0.25, 0.25, 0.25, 0.25}));
  const auto imported = import(m.proto);
  ASSERT_TRUE(imported.ok());
  EXPECT_GT(imported->graph.nodes.size(), 1U);
}

TEST(Adapters, SoftmaxBefore13OverTheLastDimensionStaysOneNode) {
  OldModel m("Softmax", 11, {-1, 4});
  const auto imported = import(m.proto);
  ASSERT_TRUE(imported.ok());
  ASSERT_EQ(imported->graph.nodes.size(), 1U);
  EXPECT_EQ(imported->graph.nodes[0].attr_int("axis", 0), -1);
}

TEST(Adapters, Upsample9AndUpsample7) {
  OldModel old("Upsample", 7, {1, 1, 1, 2});
  floats_attr(*old.node, "scales", {1, 1, 1, 2});
  OldModel newer("Upsample", 9, {1, 1, 1, 2});
  newer.graph().floats("s", {4}, {1, 1, 1, 2});
  newer.node->add_input("s");
  for (const auto* m : {&old, &newer}) {
    const auto imported = import(m->proto);
    if (find_op("", "Resize") == nullptr) GTEST_SKIP() << "no Resize yet";
    ASSERT_TRUE(imported.ok()) << message_of(imported);
    EXPECT_EQ(imported->graph.nodes[0].op, "Resize");
    EXPECT_EQ(run(m->proto, {floats({1, 1, 1, 2}, {1, 2})}), (Values{1, 1, 2, 2}));
  }
}

TEST(Adapters, Dropout7) {
  OldModel m("Dropout", 7, {2});
  float_attr(*m.node, "ratio", 0.9F);
  EXPECT_EQ(run(m.proto, {floats({2}, {1, 2})}), (Values{1, 2}));
}

TEST(Adapters, BatchNormalization7PerElement) {
  auto m = model(7);
  auto g = main_graph(m);
  g.input("x", {1, 2}).output("y");
  g.floats("s", {2}, {1, 2}).floats("b", {2}, {0, 1}).floats("m", {2}, {1, 1}).floats("v", {2}, {4, 1});
  auto& node = g.node("BatchNormalization", {"x", "s", "b", "m", "v"}, {"y"});
  int_attr(node, "spatial", 0);
  float_attr(node, "epsilon", 0.0F);
  EXPECT_EQ(run(m, {floats({1, 2}, {3, 4})}), (Values{1, 7}));
}

TEST(Adapters, BatchNormalization9TrainingOutputsAreRefused) {
  auto m = model(9);
  auto g = main_graph(m);
  g.input("x", {1, 2}).output("y");
  g.floats("s", {2}, {1, 2}).floats("b", {2}, {0, 1}).floats("m", {2}, {1, 1}).floats("v", {2}, {4, 1});
  g.node("BatchNormalization", {"x", "s", "b", "m", "v"}, {"y", "mean"}, "bn");
  const auto r = import(m);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().node, "bn");
}

TEST(Adapters, GroupNormalization18RepeatsScalesPerGroup) {
  auto m = model(18);
  auto g = main_graph(m);
  g.input("x", {1, 4, 2}).output("y").floats("s", {2}, {1, 10}).floats("b", {2}, {0, 100});
  auto& node = g.node("GroupNormalization", {"x", "s", "b"}, {"y"});
  int_attr(node, "num_groups", 2);
  float_attr(node, "epsilon", 0.0F);
  EXPECT_EQ(run(m, {floats({1, 4, 2}, {-1, 1, -1, 1, -1, 1, -1, 1})}), (Values{-1, 1, -1, 1, 90, 110, 90, 110}));
}

TEST(Adapters, BroadcastBefore7AlignsAtAxis) {
  auto m = model(6);
  auto g = main_graph(m);
  g.input("x", {2, 3}).input("b", {2}).output("y");
  auto& node = g.node("Add", {"x", "b"}, {"y"});
  int_attr(node, "broadcast", 1);
  int_attr(node, "axis", 0);
  EXPECT_EQ(run(m, {floats({2, 3}, {0, 0, 0, 0, 0, 0}), floats({2}, {1, 2})}), (Values{1, 1, 1, 2, 2, 2}));
}

TEST(Adapters, BroadcastBefore7WithUnknownRanks) {
  auto m = model(6);
  auto g = main_graph(m);
  g.input("x0", {2, 3}).input("b0", {2}).output("y");
  g.node("Abs", {"x0"}, {"x"});
  g.node("Abs", {"b0"}, {"b"});
  auto& node = g.node("Add", {"x", "b"}, {"y"});
  int_attr(node, "broadcast", 1);
  int_attr(node, "axis", 0);
  EXPECT_EQ(run(m, {floats({2, 3}, {0, 0, 0, 0, 0, 0}), floats({2}, {1, 2})}), (Values{1, 1, 1, 2, 2, 2}));
}

TEST(Adapters, OneHot9IgnoresNegativeIndices) {
  for (const int64_t opset : {9, 11}) {
    auto m = model(opset);
    auto g = main_graph(m);
    g.input("i", {2}, onnx::TensorProto::INT64).output("y").ints("depth", {3}).floats("v", {2}, {0, 1});
    g.node("OneHot", {"i", "depth", "v"}, {"y"});
    const std::array<int64_t, 2> indices{-1, 1};
    const Values last_class = opset == 9 ? Values{0, 0, 0, 0, 1, 0} : Values{0, 0, 1, 0, 1, 0};
    EXPECT_EQ(run(m, {Tensor::from_i64(indices)}), last_class) << opset;
  }
}

TEST(Adapters, Scan8RunsEverySampleOfTheBatch) {
  auto m = model(8);
  auto g = main_graph(m);
  g.input("init", {2, 1}).input("x", {2, 3, 1}).output("sums");
  auto& node = g.node("Scan", {"", "init", "x"}, {"last", "sums"});
  int_attr(node, "num_scan_inputs", 1);
  auto body = graph_attr(node, "body");
  body.input("s", {1}).input("e", {1}).output("s_out").output("e_out");
  body.node("Add", {"s", "e"}, {"s_out"});
  body.node("Identity", {"s_out"}, {"e_out"});
  EXPECT_EQ(run(m, {floats({2, 1}, {0, 10}), floats({2, 3, 1}, {1, 2, 3, 1, 1, 1})}), (Values{1, 3, 6, 11, 12, 13}));
}

}  // namespace
}  // namespace planish
