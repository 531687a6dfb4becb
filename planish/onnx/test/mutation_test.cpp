// Damaged files must load or be refused with a message; nothing may crash. Run under the sanitizers by test-asan.

#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <stdexcept>

#include "planish/ops/infer_graph.h"
#include "proto_builder.h"

namespace planish {
namespace {

using namespace testing;

onnx::ModelProto small_network() {
  auto m = model(17);
  auto g = main_graph(m);
  g.input("x", {-1, 2, 4, 4}).output("y");
  g.floats("w", {2, 2, 1, 1}, {1, 2, 3, 4}).floats("s", {2}, {1, 1}).ints("shape", {-1, 32}).ints("axes", {1});
  g.node("Conv", {"x", "w"}, {"c"}, "conv");
  ints_attr(*m.mutable_graph()->mutable_node(0), "pads", {0, 0, 0, 0});
  g.node("BatchNormalization", {"c", "s", "s", "s", "s"}, {"n"});
  g.node("Relu", {"n"}, {"r"});
  g.node("Reshape", {"r", "shape"}, {"flat"});
  g.node("Unsqueeze", {"flat", "axes"}, {"u"});
  int_attr(g.node("Softmax", {"u"}, {"y"}), "axis", -1);
  return m;
}

onnx::ModelProto control_flow() {
  auto m = model(11);
  auto g = main_graph(m);
  g.input("c", {}, onnx::TensorProto::BOOL).input("x", {2, 3}).output("y").ints("n", {3});
  auto& choose = g.node("If", {"c"}, {"i"}, "if");
  for (const char* branch : {"then_branch", "else_branch"}) {
    auto b = graph_attr(choose, branch);
    b.output("o");
    b.node(std::string(branch) == "then_branch" ? "Relu" : "Neg", {"x"}, {"o"});
  }
  auto& loop = g.node("Loop", {"n", "", "i"}, {"y"}, "loop");
  auto body = graph_attr(loop, "body");
  body.input("iter", {}, onnx::TensorProto::INT64).input("cond_in", {}, onnx::TensorProto::BOOL).input("v", {2, 3});
  body.output("cond_out", onnx::TensorProto::BOOL).output("v_out");
  body.node("Identity", {"cond_in"}, {"cond_out"});
  int_attr(body.node("Softmax", {"v"}, {"v_out"}), "axis", 1);
  return m;
}

onnx::ModelProto with_function() {
  auto m = model(18);
  m.add_opset_import()->set_domain("f");
  auto* f = m.add_functions();
  f->set_name("Twice");
  f->set_domain("f");
  f->add_input("a");
  f->add_output("b");
  f->add_attribute("axis");
  auto* cat = f->add_node();
  cat->set_op_type("Concat");
  cat->add_input("a");
  cat->add_input("a");
  cat->add_output("b");
  auto* axis = cat->add_attribute();
  axis->set_name("axis");
  axis->set_type(onnx::AttributeProto::INT);
  axis->set_ref_attr_name("axis");
  auto g = main_graph(m);
  g.input("x", {2, 3}).output("y").ints("split", {2, 2});
  auto& call = g.node("Twice", {"x"}, {"t"});
  call.set_domain("f");
  int_attr(call, "axis", 0);
  g.node("Split", {"t", "split"}, {"y", "z"});
  auto* sparse = m.mutable_graph()->add_sparse_initializer();
  fill_floats(*sparse->mutable_values(), "sp", {1}, {2});
  fill_ints(*sparse->mutable_indices(), "", {3});
  sparse->add_dims(4);
  g.node("ReduceMean", {"sp"}, {"unused"});
  return m;
}

/// Loads or refuses with a message; what loads must also survive shape inference.
void expect_orderly(const std::string& bytes, const std::string& what) {
  const auto r = import_onnx(std::as_bytes(std::span(bytes)));
  if (!r.ok()) {
    EXPECT_FALSE(r.error().message().empty()) << what;
    EXPECT_NE(r.error().code, Code::internal) << what << ": " << r.error().message();
    return;
  }
  Graph graph = r->graph;
  const auto status = annotate_shapes(graph);
  if (!status.ok()) {
    EXPECT_FALSE(status.error().message().empty()) << what;
  }
}

using Mutation = std::function<void(onnx::ModelProto&, std::mt19937&)>;

int64_t odd_number(std::mt19937& rng) {
  constexpr int64_t kOdd[] = {-1, 0, 1, -2, 5, 1000, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, int64_t{1} << 40};
  return kOdd[rng() % std::size(kOdd)];
}

int pick(int size, std::mt19937& rng) { return static_cast<int>(rng() % static_cast<unsigned>(size)); }

/// Any node, also of subgraphs.
onnx::NodeProto& any_node(onnx::ModelProto& m, std::mt19937& rng) {
  onnx::GraphProto* g = m.mutable_graph();
  auto* n = g->mutable_node(pick(g->node_size(), rng));
  for (auto& a : *n->mutable_attribute())
    if (a.has_g() && a.g().node_size() > 0 && rng() % 2 == 0)
      return *a.mutable_g()->mutable_node(pick(a.g().node_size(), rng));
  return *n;
}

onnx::TensorProto& any_tensor(onnx::ModelProto& m, std::mt19937& rng) {
  if (m.graph().initializer_size() == 0) return *m.mutable_graph()->add_initializer();
  return *m.mutable_graph()->mutable_initializer(pick(m.graph().initializer_size(), rng));
}

const Mutation kMutations[] = {
    [](auto& m, auto& rng) { any_tensor(m, rng).add_dims(odd_number(rng)); },
    [](auto& m, auto& rng) {
      auto& t = any_tensor(m, rng);
      if (t.dims_size() > 0) t.set_dims(0, odd_number(rng));
    },
    [](auto& m, auto& rng) { any_tensor(m, rng).set_data_type(pick(40, rng) - 3); },
    [](auto& m, auto& rng) { any_tensor(m, rng).set_raw_data(std::string(rng() % 64, '\xff')); },
    [](auto& m, auto& rng) { any_tensor(m, rng).set_data_location(onnx::TensorProto::EXTERNAL); },
    [](auto& m, auto& rng) { any_tensor(m, rng).set_name(m.graph().input(0).name()); },
    [](auto& m, auto& rng) {
      auto& t = any_tensor(m, rng);
      for (auto& v : *t.mutable_int64_data()) v = odd_number(rng);
    },
    [](auto& m, auto& rng) {
      auto& n = any_node(m, rng);
      n.set_op_type(any_node(m, rng).op_type());
    },
    [](auto& m, auto& rng) { any_node(m, rng).clear_input(); },
    [](auto& m, auto& rng) { any_node(m, rng).clear_output(); },
    [](auto& m, auto& rng) { any_node(m, rng).clear_attribute(); },
    [](auto& m, auto& rng) { any_node(m, rng).add_input(rng() % 2 ? "x" : ""); },
    [](auto& m, auto& rng) { any_node(m, rng).add_output(rng() % 2 ? "y" : "other"); },
    [](auto& m, auto& rng) {
      auto& n = any_node(m, rng);
      if (n.input_size() > 0) n.set_input(pick(n.input_size(), rng), rng() % 2 ? "y" : "");
    },
    [](auto& m, auto& rng) { any_node(m, rng).set_domain(rng() % 2 ? "f" : "nowhere"); },
    [](auto& m, auto& rng) {
      auto& n = any_node(m, rng);
      for (auto& a : *n.mutable_attribute()) {
        a.set_i(odd_number(rng));
        for (auto& v : *a.mutable_ints()) v = odd_number(rng);
      }
    },
    [](auto& m, auto& rng) {
      auto& n = any_node(m, rng);
      for (auto& a : *n.mutable_attribute())
        a.set_type(static_cast<onnx::AttributeProto::AttributeType>(pick(14, rng)));
    },
    [](auto& m, auto& rng) {
      ints_attr(any_node(m, rng), "axes", {odd_number(rng), odd_number(rng)});
    },
    [](auto& m, auto& rng) { m.mutable_opset_import(0)->set_version(pick(40, rng) - 4); },
    [](auto& m, auto& rng) { m.set_ir_version(odd_number(rng)); },
    [](auto& m, auto& rng) {
      auto& info = *m.mutable_graph()->mutable_input(pick(m.graph().input_size(), rng));
      info.mutable_type()->mutable_tensor_type()->mutable_shape()->add_dim()->set_dim_value(odd_number(rng));
    },
    [](auto& m, auto& rng) {
      auto& info = *m.mutable_graph()->mutable_input(pick(m.graph().input_size(), rng));
      if (rng() % 2)
        info.mutable_type()->mutable_sequence_type();
      else
        info.mutable_type()->mutable_tensor_type()->set_elem_type(pick(40, rng));
    },
    [](auto& m, auto&) { m.mutable_graph()->clear_input(); },
    [](auto& m, auto&) { m.mutable_graph()->clear_output(); },
    [](auto& m, auto& rng) { *m.mutable_graph()->add_node() = any_node(m, rng); },
    [](auto& m, auto& rng) {
      for (auto& f : *m.mutable_functions()) {
        f.add_node()->set_op_type(f.name());
        f.mutable_node(f.node_size() - 1)->set_domain(f.domain());
        if (rng() % 2) f.clear_output();
      }
    },
    [](auto& m, auto& rng) {
      for (auto& s : *m.mutable_graph()->mutable_sparse_initializer()) {
        s.set_dims(0, odd_number(rng));
        s.mutable_indices()->set_int64_data(0, odd_number(rng));
      }
    },
};

struct Seed {
  const char* name;
  onnx::ModelProto (*make)();
};
constexpr Seed kSeeds[] = {
    {"small_network", small_network}, {"control_flow", control_flow}, {"with_function", with_function}};

TEST(Mutations, SeedsLoad) {
  for (const Seed& seed : kSeeds) {
    const auto r = import(seed.make());
    EXPECT_TRUE(r.ok()) << seed.name << ": " << message_of(r);
  }
}

TEST(Mutations, FieldChangesLoadOrAreRefused) {
  for (const Seed& seed : kSeeds) {
    for (size_t k = 0; k < std::size(kMutations); ++k) {
      for (unsigned s = 0; s < 8; ++s) {
        std::mt19937 rng(static_cast<unsigned>(k) * 100 + s);
        auto m = seed.make();
        kMutations[k](m, rng);
        expect_orderly(m.SerializeAsString(),
                       std::string(seed.name) + ", mutation " + std::to_string(k) + ", seed " + std::to_string(s));
      }
    }
  }
}

TEST(Mutations, ByteFlipsLoadOrAreRefused) {
  for (const Seed& seed : kSeeds) {
    const std::string original = seed.make().SerializeAsString();
    for (unsigned s = 0; s < 150; ++s) {
      std::mt19937 rng(s);
      std::string bytes = original;
      for (unsigned flips = 1 + rng() % 4; flips > 0; --flips)
        bytes[rng() % bytes.size()] ^= static_cast<char>(1U << (rng() % 8));
      expect_orderly(bytes, std::string(seed.name) + ", flips with seed " + std::to_string(s));
    }
  }
}

TEST(Mutations, TruncationsLoadOrAreRefused) {
  for (const Seed& seed : kSeeds) {
    const std::string original = seed.make().SerializeAsString();
    for (size_t length = 0; length < original.size(); length += 1 + original.size() / 60)
      expect_orderly(original.substr(0, length), std::string(seed.name) + " cut at " + std::to_string(length));
  }
}

TEST(Mutations, DeepNestingIsRefused) {
  auto m = model(17);
  auto g = main_graph(m);
  g.input("c", {}, onnx::TensorProto::BOOL).output("y");
  onnx::NodeProto* node = &g.node("If", {"c"}, {"y"});
  for (int i = 0; i < 400; ++i) {
    auto inner = graph_attr(*node, "then_branch");
    inner.output("y");
    node = &inner.node("If", {"c"}, {"y"});
  }
  expect_orderly(m.SerializeAsString(), "400 nested subgraphs");
}

}  // namespace
}  // namespace planish
