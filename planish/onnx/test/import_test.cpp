#include "planish/onnx/import.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "proto_builder.h"

namespace planish {
namespace {

using namespace testing;

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

onnx::ModelProto relu_model() {
  auto m = model(17);
  auto g = main_graph(m);
  g.input("x", {-1, 3}).output("y");
  g.node("Relu", {"x"}, {"y"}, "act");
  return m;
}

Result<ImportedModel> import_text(const std::string& text) { return import_onnx(std::as_bytes(std::span(text))); }

TEST(Import, KeepsNamesTypesAndSymbolicDimensions) {
  auto m = relu_model();
  m.set_doc_string("a test");
  auto* meta = m.add_metadata_props();
  meta->set_key("author");
  meta->set_value("me");
  const auto r = import(m);
  ASSERT_TRUE(r.ok()) << message_of(r);
  EXPECT_EQ(r->opset_imports.at(""), 17);
  EXPECT_EQ(r->producer_name, "test");
  EXPECT_EQ(r->doc, "a test");
  EXPECT_EQ(r->metadata.at("author"), "me");
  const Value& x = r->graph.value(r->graph.inputs.at(0));
  EXPECT_EQ(x.name, "x");
  EXPECT_EQ(x.dtype, DType::f32);
  EXPECT_EQ(*x.shape, (Shape{-1, 3}));
  EXPECT_EQ(x.dim_names, (std::vector<std::string>{"N", ""}));
  EXPECT_EQ(r->graph.nodes.at(0).origins, std::vector<std::string>{"act"});
}

TEST(Import, NamesUnnamedNodesByPosition) {
  auto m = model(17);
  auto g = main_graph(m);
  g.input("x", {2}).output("z");
  g.node("Relu", {"x"}, {"y"});
  g.node("Abs", {"y"}, {"z"});
  const auto r = import(m);
  ASSERT_TRUE(r.ok()) << message_of(r);
  EXPECT_EQ(r->graph.nodes[0].name, "Relu_0");
  EXPECT_EQ(r->graph.nodes[1].name, "Abs_1");
}

TEST(Import, MakesRepeatedNodeNamesUnique) {
  auto m = model(17);
  auto g = main_graph(m);
  g.input("x", {2}).output("z");
  g.node("Relu", {"x"}, {"y"}, "same");
  g.node("Abs", {"y"}, {"z"}, "same");
  const auto r = import(m);
  ASSERT_TRUE(r.ok()) << message_of(r);
  EXPECT_NE(r->graph.nodes[0].name, r->graph.nodes[1].name);
}

TEST(Import, SortsNodes) {
  auto m = model(17);
  auto g = main_graph(m);
  g.input("x", {2}).output("z");
  g.node("Abs", {"y"}, {"z"}, "second");
  g.node("Relu", {"x"}, {"y"}, "first");
  const auto r = import(m);
  ASSERT_TRUE(r.ok()) << message_of(r);
  EXPECT_EQ(r->graph.nodes[0].name, "first");
}

TEST(Import, InputsWithInitialisersAreConstants) {
  auto m = model(17, 3);
  auto g = main_graph(m);
  g.input("x", {2}).input("w", {2}).output("y").floats("w", {2}, {3, 4});
  g.node("Add", {"x", "w"}, {"y"});
  const auto r = import(m);
  ASSERT_TRUE(r.ok()) << message_of(r);
  EXPECT_EQ(r->graph.inputs.size(), 1U);
  EXPECT_EQ(run(m, {floats({2}, {1, 1})}), (std::vector<double>{4, 5}));
}

TEST(Import, ListsEveryUnsupportedNodeUpToTwenty) {
  auto m = model(17);
  auto g = main_graph(m);
  g.input("x", {2}).output("y25");
  for (int i = 0; i < 26; ++i)
    g.node(i == 0 ? "Convolve" : "Frobnicate", {i == 0 ? "x" : "y" + std::to_string(i - 1)}, {"y" + std::to_string(i)},
           "n" + std::to_string(i));
  const auto r = import(m);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().code, Code::unsupported);
  const std::string text = r.error().what;
  EXPECT_TRUE(contains(text, "26 nodes")) << text;
  EXPECT_TRUE(contains(text, "'n0': operator Convolve")) << text;
  EXPECT_TRUE(contains(text, "opset 17")) << text;
  EXPECT_TRUE(contains(text, "nearest: Conv")) << text;
  EXPECT_TRUE(contains(text, "'n19'")) << text;
  EXPECT_FALSE(contains(text, "'n20'")) << text;
  EXPECT_TRUE(contains(text, "and 6 more")) << text;
}

TEST(Import, UnsupportedNodesInSubgraphsAreListedToo) {
  auto m = model(17);
  auto g = main_graph(m);
  g.input("c", {}, onnx::TensorProto::BOOL).output("y");
  auto& node = g.node("If", {"c"}, {"y"});
  for (const char* branch : {"then_branch", "else_branch"}) {
    auto b = graph_attr(node, branch);
    b.floats("one", {1}, {1}).output(std::string(branch) + "_y");
    b.node("Frobnicate", {"one"}, {std::string(branch) + "_y"}, std::string("f_") + branch);
  }
  const auto r = import(m);
  ASSERT_FALSE(r.ok());
  EXPECT_TRUE(contains(r.error().what, "f_then_branch") && contains(r.error().what, "f_else_branch")) << r.error().what;
}

TEST(ImportErrors, MissingInput) {
  auto m = relu_model();
  m.mutable_graph()->mutable_node(0)->set_input(0, "nowhere");
  const auto r = import(m);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().node, "act");
  EXPECT_EQ(r.error().tensor, "nowhere");
}

TEST(ImportErrors, MissingOutput) {
  auto m = relu_model();
  m.mutable_graph()->mutable_output(0)->set_name("nowhere");
  const auto r = import(m);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().tensor, "nowhere");
}

TEST(ImportErrors, DuplicateDefinition) {
  auto m = relu_model();
  main_graph(m).node("Abs", {"x"}, {"y"}, "again");
  const auto r = import(m);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().node, "again");
  EXPECT_EQ(r.error().tensor, "y");
}

TEST(ImportErrors, Cycle) {
  auto m = model(17);
  auto g = main_graph(m);
  g.input("x", {2}).output("a");
  g.node("Add", {"x", "b"}, {"a"}, "n1");
  g.node("Relu", {"a"}, {"b"}, "n2");
  const auto r = import(m);
  ASSERT_FALSE(r.ok());
  EXPECT_TRUE(contains(r.error().message(), "cycle")) << message_of(r);
}

TEST(ImportErrors, ForeignFilesAreNamed) {
  const std::pair<std::string, std::string> cases[] = {
      {std::string("ftrt\0\0\0\0 plan", 13), "TensorRT engine"},
      {"PK\x03\x04 archive of things", "zip archive"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 3\n", "Git LFS"},
      {"hello, this is a text file\n", "text file"},
      {"", "empty"},
      {std::string(100, '\0'), "zero bytes"},
      {std::string("\x0a\xff\xff\xff\xff\xff", 6), "protobuf cannot decode"},
  };
  for (const auto& [bytes, part] : cases) {
    const auto r = import_text(bytes);
    ASSERT_FALSE(r.ok()) << part;
    EXPECT_EQ(r.error().code, Code::corrupt);
    EXPECT_TRUE(contains(r.error().message(), part)) << r.error().message();
  }
}

TEST(ImportErrors, TruncatedModel) {
  const std::string bytes = relu_model().SerializeAsString();
  const auto r = import_text(bytes.substr(0, bytes.size() - 3));
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().code, Code::corrupt);
}

TEST(ImportErrors, NoDefaultOpset) {
  auto m = relu_model();
  m.mutable_opset_import(0)->set_domain("com.example");
  const auto r = import(m);
  ASSERT_FALSE(r.ok());
  EXPECT_TRUE(contains(r.error().message(), "no opset")) << message_of(r);
}

TEST(Import, WarnsAboutNewerOpsets) {
  auto m = relu_model();
  m.mutable_opset_import(0)->set_version(kNewestOpset + 3);
  const auto r = import(m);
  ASSERT_TRUE(r.ok()) << message_of(r);
  ASSERT_EQ(r->warnings.size(), 1U);
  EXPECT_TRUE(contains(r->warnings[0], "newer than 28")) << r->warnings[0];
}

TEST(Import, StringInitialisersAreHarmlessUntilRead) {
  auto m = relu_model();
  auto* labels = m.mutable_graph()->add_initializer();
  labels->set_name("labels");
  labels->set_data_type(onnx::TensorProto::STRING);
  labels->add_dims(1);
  labels->add_string_data("cat");
  EXPECT_TRUE(import(m).ok());
  main_graph(m).node("Identity", {"labels"}, {"copy"}, "reader");
  const auto r = import(m);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().node, "reader");
  EXPECT_EQ(r.error().tensor, "labels");
}

TEST(ImportSubgraph, CapturesBecomeInputs) {
  auto m = model(17);
  auto g = main_graph(m);
  g.input("c", {}, onnx::TensorProto::BOOL).input("x", {2}).output("y").floats("two", {}, {2});
  g.node("Abs", {"x"}, {"a"});
  auto& node = g.node("If", {"c"}, {"y"}, "choose");
  auto then_graph = graph_attr(node, "then_branch");
  then_graph.output("t");
  then_graph.node("Mul", {"a", "two"}, {"t"});
  auto else_graph = graph_attr(node, "else_branch");
  else_graph.output("e");
  else_graph.node("Sub", {"a", "x"}, {"e"});
  const auto r = import(m);
  ASSERT_TRUE(r.ok()) << message_of(r);
  const Node& choose = r->graph.nodes.at(1);
  EXPECT_EQ(choose.attr_int("own_inputs", -1), 1);
  // `a` once although both branches read it; the constant goes into the branch.
  ASSERT_EQ(choose.inputs.size(), 3U);
  EXPECT_EQ(r->graph.name_of(choose.inputs[1]), "a");
  EXPECT_EQ(r->graph.name_of(choose.inputs[2]), "x");
  const auto then_branch = choose.attr_graph("then_branch");
  ASSERT_EQ(then_branch->captures.size(), 1U);
  EXPECT_EQ(then_branch->captures[0].first, 1);

  Tensor yes(DType::boolean, {});
  yes.set(0, 1);
  EXPECT_EQ(run(m, {yes, floats({2}, {-1, 2})}), (std::vector<double>{2, 4}));
  Tensor no(DType::boolean, {});
  EXPECT_EQ(run(m, {no, floats({2}, {-1, 2})}), (std::vector<double>{2, 0}));
}

TEST(ImportSubgraph, CapturesThroughTwoLevels) {
  auto m = model(17);
  auto g = main_graph(m);
  g.input("c", {}, onnx::TensorProto::BOOL).input("x", {2}).output("y");
  auto& outer = g.node("If", {"c"}, {"y"}, "outer");
  for (const char* branch : {"then_branch", "else_branch"}) {
    auto b = graph_attr(outer, branch);
    b.output(std::string(branch) + "_y");
    auto& inner = b.node("If", {"c"}, {std::string(branch) + "_y"}, "inner");
    for (const char* leaf : {"then_branch", "else_branch"}) {
      auto l = graph_attr(inner, leaf);
      l.output("leaf");
      l.node(std::string(branch) == leaf ? "Neg" : "Abs", {"x"}, {"leaf"});
    }
  }
  Tensor yes(DType::boolean, {});
  yes.set(0, 1);
  EXPECT_EQ(run(m, {yes, floats({2}, {-1, 2})}), (std::vector<double>{1, -2}));
}

TEST(ImportFunctions, AreInlinedWithAttributesAndUniqueNames) {
  auto m = model(17);
  m.add_opset_import()->set_domain("my");
  m.mutable_opset_import(1)->set_version(1);
  auto* f = m.add_functions();
  f->set_name("ScaledLeaky");
  f->set_domain("my");
  f->add_input("a");
  f->add_output("b");
  f->add_attribute("slope");
  f->add_opset_import()->set_version(17);
  auto* leaky = f->add_node();
  leaky->set_op_type("LeakyRelu");
  leaky->add_input("a");
  leaky->add_output("t");
  auto* alpha = leaky->add_attribute();
  alpha->set_name("alpha");
  alpha->set_type(onnx::AttributeProto::FLOAT);
  alpha->set_ref_attr_name("slope");
  auto* add = f->add_node();
  add->set_op_type("Add");
  add->add_input("t");
  add->add_input("t");
  add->add_output("b");

  auto g = main_graph(m);
  g.input("x", {2}).output("z");
  auto& first = g.node("ScaledLeaky", {"x"}, {"y"}, "first");
  first.set_domain("my");
  float_attr(first, "slope", 0.5F);
  auto& second = g.node("ScaledLeaky", {"y"}, {"z"}, "second");
  second.set_domain("my");
  float_attr(second, "slope", 0.25F);
  const auto r = import(m);
  ASSERT_TRUE(r.ok()) << message_of(r);
  ASSERT_EQ(r->graph.nodes.size(), 4U);
  EXPECT_EQ(r->graph.nodes[0].name, "first/LeakyRelu_0");
  EXPECT_EQ(r->graph.nodes[2].name, "second/LeakyRelu_0");
  EXPECT_EQ(run(m, {floats({2}, {-8, 1})}), (std::vector<double>{-4, 4}));
}

TEST(ImportFunctions, RecursionIsRefused) {
  auto m = model(17);
  m.add_opset_import()->set_domain("my");
  auto* f = m.add_functions();
  f->set_name("F");
  f->set_domain("my");
  f->add_input("a");
  f->add_output("b");
  auto* call = f->add_node();
  call->set_op_type("F");
  call->set_domain("my");
  call->add_input("a");
  call->add_output("b");
  auto g = main_graph(m);
  g.input("x", {2}).output("y");
  g.node("F", {"x"}, {"y"}).set_domain("my");
  const auto r = import(m);
  ASSERT_FALSE(r.ok());
  EXPECT_TRUE(contains(r.error().message(), "calls itself")) << message_of(r);
}

TEST(ImportFunctions, ExplosionIsRefused) {
  // f0 calls f1 ten times, f1 calls f2 ten times, ...: 10^8 nodes from a small file.
  auto m = model(17);
  m.add_opset_import()->set_domain("my");
  for (int i = 0; i < 8; ++i) {
    auto* f = m.add_functions();
    f->set_name("F" + std::to_string(i));
    f->set_domain("my");
    f->add_input("a");
    f->add_output("o9");
    f->add_opset_import()->set_version(17);
    for (int k = 0; k < 10; ++k) {
      auto* n = f->add_node();
      n->set_op_type(i == 7 ? "Relu" : "F" + std::to_string(i + 1));
      if (i != 7) n->set_domain("my");
      n->add_input("a");
      n->add_output("o" + std::to_string(k));
    }
  }
  auto g = main_graph(m);
  g.input("x", {2}).output("y");
  g.node("F0", {"x"}, {"y"}).set_domain("my");
  const auto r = import(m);
  ASSERT_FALSE(r.ok());
  EXPECT_TRUE(contains(r.error().message(), "expand")) << message_of(r);
}

TEST(Import, EverySharedModelLoads) {
  const std::filesystem::path folder = "../shared/models";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no ../shared/models";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".onnx") continue;
    const auto r = import_onnx(entry.path());
    EXPECT_TRUE(r.ok()) << message_of(r);
  }
}

}  // namespace
}  // namespace planish
