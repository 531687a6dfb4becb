#include "planish/onnx/export.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>

#include "planish/onnx/inspect.h"
#include "proto_builder.h"

namespace planish {
namespace {

using namespace testing;
namespace fs = std::filesystem;

struct TempFolder {
  fs::path path;
  TempFolder() {
    std::string pattern = (fs::temp_directory_path() / "planish_onnx_XXXXXX").string();
    path = mkdtemp(pattern.data());
  }
  ~TempFolder() { fs::remove_all(path); }
};

onnx::ModelProto if_model() {
  auto m = model(17);
  auto g = main_graph(m);
  g.input("c", {}, onnx::TensorProto::BOOL).input("x", {-1}).output("y").floats("two", {}, {2});
  auto& node = g.node("If", {"c"}, {"y"}, "choose");
  auto then_graph = graph_attr(node, "then_branch");
  then_graph.output("r");
  then_graph.node("Mul", {"x", "two"}, {"r"}, "mul");
  auto else_graph = graph_attr(node, "else_branch");
  else_graph.output("x");  // a captured value, returned as it is
  return m;
}

std::vector<double> evaluate(const Graph& graph, bool choice, const std::vector<float>& x) {
  Tensor c(DType::boolean, {});
  c.set(0, choice ? 1 : 0);
  const std::vector<Tensor> inputs{c, floats({static_cast<int64_t>(x.size())}, x)};
  const auto out = interpret(graph, inputs);
  if (!out.ok()) throw std::runtime_error(out.error().message());
  std::vector<double> values;
  for (int64_t i = 0; i < (*out)[0].size(); ++i) values.push_back((*out)[0].at(i));
  return values;
}

TEST(Export, SubgraphsSurviveARoundTrip) {
  const auto first = import(if_model());
  ASSERT_TRUE(first.ok()) << message_of(first);
  const auto bytes = export_onnx(first->graph);
  ASSERT_TRUE(bytes.ok()) << bytes.error().message();
  const auto second = import_onnx(std::as_bytes(std::span(*bytes)));
  ASSERT_TRUE(second.ok()) << message_of(second);
  EXPECT_GE(second->opset_imports.at(""), 20);
  EXPECT_EQ(evaluate(second->graph, true, {1, -2}), (std::vector<double>{2, -4}));
  EXPECT_EQ(evaluate(second->graph, false, {1, -2}), (std::vector<double>{1, -2}));
  const Value& x = second->graph.value(second->graph.inputs[1]);
  EXPECT_EQ(x.name, "x");
  EXPECT_EQ(x.dim_names, std::vector<std::string>{"N"});
}

TEST(Export, LateOperatorsRaiseTheOpset) {
  Graph g;
  Value x{.name = "x", .dtype = DType::f32, .shape = Shape{2}};
  g.inputs = {g.add_value(x)};
  g.outputs = {g.add_value(Value{.name = "y", .dtype = DType::f32, .shape = Shape{2}})};
  g.nodes.push_back(Node{.op = "Swish", .name = "s", .inputs = {0}, .outputs = {1}});
  if (find_op("", "Swish") == nullptr) GTEST_SKIP() << "no Swish yet";
  const auto bytes = export_onnx(g);
  ASSERT_TRUE(bytes.ok());
  const auto back = import_onnx(std::as_bytes(std::span(*bytes)));
  ASSERT_TRUE(back.ok()) << message_of(back);
  EXPECT_EQ(back->opset_imports.at(""), 24);
  EXPECT_EQ(back->ir_version, 12);
}

/// Opset of a file with one node that quantises to `type`.
int64_t opset_of_quantiser(DType type, std::map<std::string, Attr> attrs = {}) {
  Graph g;
  g.inputs = {g.add_value(Value{.name = "x", .dtype = DType::f32, .shape = Shape{4}})};
  const ValueId scale = g.add_constant("s", Tensor::scalar_f32(0.5F));
  const ValueId zero = g.add_constant("z", Tensor(type, {}));
  g.outputs = {g.add_value(Value{.name = "y", .dtype = type, .shape = Shape{4}})};
  Node node{.op = "QuantizeLinear", .name = "q", .inputs = {0, scale, zero}, .outputs = {g.outputs[0]}};
  for (const auto& [key, value] : attrs) node.attrs[key] = value;
  g.nodes.push_back(std::move(node));
  const auto bytes = export_onnx(g);
  if (!bytes.ok()) return -1;
  const auto back = import_onnx(std::as_bytes(std::span(*bytes)));
  return back.ok() ? back->opset_imports.at("") : -1;
}

// ONNX Runtime's optimiser and TensorRT 10.3 want opset 20 for what it can say.
TEST(Export, QuantisedFilesHaveTheOldestOpsetThatSaysWhatTheyMean) {
  EXPECT_EQ(opset_of_quantiser(DType::i8), 20);
  EXPECT_EQ(opset_of_quantiser(DType::u8), 20);
  EXPECT_EQ(opset_of_quantiser(DType::u16), 21);
  EXPECT_EQ(opset_of_quantiser(DType::i4), 21);
  EXPECT_EQ(opset_of_quantiser(DType::i8, {{"output_dtype", int64_t{3}}}), 21);
}

TEST(Export, FusedOperatorsAreRefused) {
  Graph g;
  g.inputs = {g.add_value(Value{.name = "x", .dtype = DType::f32})};
  g.outputs = {g.add_value(Value{.name = "y", .dtype = DType::f32})};
  g.nodes.push_back(Node{.op = "FusedConv", .domain = "planish", .name = "f", .inputs = {0}, .outputs = {1}});
  const auto bytes = export_onnx(g);
  ASSERT_FALSE(bytes.ok());
  EXPECT_EQ(bytes.error().node, "f");
}

TEST(Export, ExternalData) {
  const TempFolder folder;
  auto m = model(17);
  auto g = main_graph(m);
  g.input("x", {3}).output("y").floats("w", {3}, {1, 2, 3}).floats("v", {3}, {10, 20, 30});
  g.node("Add", {"x", "w"}, {"t"});
  g.node("Add", {"t", "v"}, {"y"});
  const auto imported = import(m);
  ASSERT_TRUE(imported.ok());
  const auto status =
      export_onnx(imported->graph, folder.path / "m.onnx", {.external_bytes = 0, .force_external = true});
  ASSERT_TRUE(status.ok()) << status.error().message();
  EXPECT_TRUE(fs::exists(folder.path / "m.onnx.data"));
  const auto back = import_onnx(folder.path / "m.onnx");
  ASSERT_TRUE(back.ok()) << message_of(back);
  const auto out = interpret(back->graph, std::vector<Tensor>{floats({3}, {0, 0, 0})});
  ASSERT_TRUE(out.ok());
  EXPECT_EQ((*out)[0].at(2), 33);
}

TEST(Inspect, TellsWhatTheFileSays) {
  const TempFolder folder;
  auto m = model(9);
  auto g = main_graph(m);
  g.input("x", {-1, 2}).input("w", {2}).output("y").floats("w", {2}, {0.5, 1});
  auto& node = g.node("Clip", {"x", "w"}, {"y"}, "clip");
  float_attr(node, "min", 0.5F);
  string_attr(node, "mode", "same");
  ints_attr(node, "pads", {1, 2});
  const fs::path file = folder.path / "m.onnx";
  {
    std::ofstream out(file, std::ios::binary);
    m.SerializeToOstream(&out);
  }
  const auto s = summarise_onnx(file);
  ASSERT_TRUE(s.ok()) << s.error().message();
  EXPECT_EQ(s->opset_imports.at(""), 9);
  ASSERT_EQ(s->graph.inputs.size(), 1U);
  EXPECT_EQ(s->graph.inputs[0].dtype, "float32");
  EXPECT_EQ(*s->graph.inputs[0].dims, (std::vector<OnnxDim>{{-1, "N"}, {2, ""}}));
  ASSERT_EQ(s->graph.initialisers.size(), 1U);
  const auto w = s->graph.initialisers[0].values();
  ASSERT_TRUE(w.ok());
  EXPECT_EQ(w->at(0), 0.5);
  ASSERT_EQ(s->graph.nodes.size(), 1U);
  const auto& attributes = s->graph.nodes[0].attributes;
  EXPECT_EQ(attributes.at(0).text, "0.5");
  EXPECT_EQ(attributes.at(1).text, "'same'");
  EXPECT_EQ(attributes.at(2).text, "[1, 2]");
}

}  // namespace
}  // namespace planish
