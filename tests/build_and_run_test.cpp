// Small graphs through the whole machine: built for the CPU and for the test device whose memory nobody can
// dereference, and compared with the interpreter.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "planish/builder/builder.h"
#include "planish/ir/text.h"
#include "planish/ops/op.h"
#include "planish/runtime/context.h"
#include "planish/runtime/executable.h"
#include "planish/tactics/cpu/cpu_tactics.h"

namespace planish {
namespace {

struct Net {
  const char* label;
  const char* text;
};

const Net kNets[] = {
    {"residual",
     "graph \"g\" (x: f32[1,3,16,16]) -> (y) {\n const w1: f32[16,3,3,3] = seed(1, -0.3, 0.3)\n const w2: "
     "f32[16,16,3,3] = seed(2, -0.1, 0.1)\n const b: f32[16] = seed(3)\n const w3: f32[16,10] = seed(4)\n c = "
     "Conv(x, w1, b) {pads = [1,1,1,1]} @c1\n r = Relu(c) @r1\n d = Conv(r, w2) {pads = [1,1,1,1]} @c2\n s = "
     "Add(d, r) @add\n t = Relu(s) @r2\n p = MaxPool(t) {kernel_shape = [2,2], strides = [2,2]} @p\n g = "
     "GlobalAveragePool(p) @gap\n f = Flatten(g) @f\n m = MatMul(f, w3) @fc\n y = Softmax(m) @sm\n}"},
    {"branches",
     "graph \"g\" (x: f32[1,8,9,9]) -> (y) {\n const w1: f32[16,8,1,1] = seed(1)\n const w2: f32[12,8,3,3] = "
     "seed(2)\n const w3: f32[28,1,3,3] = seed(3)\n a = Conv(x, w1) @a\n b = Conv(x, w2) {pads = "
     "[1,1,1,1]} @b\n c = Concat(a, b) {axis = 1} @cat\n s = Sigmoid(c) @s\n m = Mul(c, s) @m\n d = Conv(m, "
     "w3) {group = 28, pads = [1,1,1,1]} @dw\n u, v = Split(d) {axis = 1, num_outputs = 2} @sp\n y = Add(u, v) "
     "@add\n}"},
    {"transformer",
     "graph \"g\" (x: f32[2,7,16]) -> (y) {\n const wq: f32[16,16] = seed(1, -0.5, 0.5)\n const wk: "
     "f32[16,16] = seed(2, -0.5, 0.5)\n const wv: f32[16,16] = seed(3, -0.5, 0.5)\n const s: i64[4] = [0, 0, 2, "
     "8]\n const g: f32[16] = seed(4)\n const o: i64[3] = [0, 0, 16]\n q0 = MatMul(x, wq) @q\n k0 = MatMul(x, "
     "wk) @k\n v0 = MatMul(x, wv) @v\n q1 = Reshape(q0, s)\n k1 = Reshape(k0, s)\n v1 = Reshape(v0, s)\n q2 = "
     "Transpose(q1) {perm = [0,2,1,3]}\n k2 = Transpose(k1) {perm = [0,2,3,1]}\n v2 = Transpose(v1) {perm "
     "= [0,2,1,3]}\n a = MatMul(q2, k2) @qk\n p = Softmax(a) {axis = -1}\n z = MatMul(p, v2) @pv\n t = "
     "Transpose(z) {perm = [0,2,1,3]}\n u = Reshape(t, o)\n w = Add(u, x)\n y = LayerNormalization(w, g) "
     "@ln\n}"},
    {"data_dependent",
     "graph \"g\" (x: f32[20]) -> (y, i) {\n r = Relu(x)\n i = NonZero(r)\n f = Cast(i) {to = 1}\n y = "
     "Neg(f)\n}"},
};

Graph graph_of(const Net& net) {
  auto graph = parse_text(net.text, net.label);
  EXPECT_TRUE(graph.ok()) << (graph.ok() ? "" : graph.error().message());
  return graph.ok() ? std::move(*graph) : Graph();
}

BuildOptions quick(int level) {
  BuildOptions o;
  o.optimization_level = level;
  o.avg_timing = 1;
  o.threads = 1;
  o.use_timing_cache = false;
  return o;
}

std::vector<Tensor> inputs_of(const Graph& g) {
  std::vector<Tensor> inputs;
  for (const ValueId v : g.inputs) inputs.push_back(seeded_tensor(g.value(v).dtype, *g.value(v).shape, 9, -1, 1));
  return inputs;
}

void expect_outputs(const Net& net, Engine engine, Device& device, const TacticTable& table) {
  const Graph original = graph_of(net);
  const auto inputs = inputs_of(original);
  auto expected = interpret(original, inputs);
  ASSERT_TRUE(expected.ok()) << expected.error().message();
  auto executable = Executable::create(std::make_shared<const Engine>(std::move(engine)), device, table, 1);
  ASSERT_TRUE(executable.ok()) << executable.error().message();
  auto context = Context::create(*executable);
  ASSERT_TRUE(context.ok());
  for (int run = 0; run < 2; ++run) {
    auto got = (*context)->run_host(inputs);
    ASSERT_TRUE(got.ok()) << got.error().message();
    ASSERT_EQ(got->size(), expected->size());
    for (size_t o = 0; o < got->size(); ++o) {
      ASSERT_EQ((*got)[o].shape(), (*expected)[o].shape());
      for (int64_t i = 0; i < (*got)[o].size(); ++i)
        ASSERT_NEAR((*got)[o].at(i), (*expected)[o].at(i), 1e-4) << "output " << o << " element " << i;
    }
  }
}

class Nets : public testing::TestWithParam<Net> {};

TEST_P(Nets, GiveEqualResultsAtEveryLevel) {
  for (int level = 0; level <= 5; ++level) {
    SCOPED_TRACE("level " + std::to_string(level));
    auto engine = build_engine(graph_of(GetParam()), quick(level), host_device(), cpu_tactics());
    ASSERT_TRUE(engine.ok()) << engine.error().message();
    expect_outputs(GetParam(), std::move(*engine), host_device(), cpu_tactics());
  }
}

TEST_P(Nets, RunOnADeviceWhoseMemoryNobodyCanDereference) {
  auto engine = build_engine(graph_of(GetParam()), quick(0), opaque_test_device(), opaque_test_tactics());
  ASSERT_TRUE(engine.ok()) << engine.error().message();
  expect_outputs(GetParam(), std::move(*engine), opaque_test_device(), opaque_test_tactics());
}

TEST_P(Nets, RunWithTacticsThatDoNotExistHere) {
  auto engine = build_engine(graph_of(GetParam()), quick(3), host_device(), cpu_tactics());
  ASSERT_TRUE(engine.ok()) << engine.error().message();
  for (LayerPlan& layer : engine->layers)
    if (!layer.tactic.empty()) layer.tactic = "other.machine." + layer.tactic;
  const Engine foreign = *engine;
  expect_outputs(GetParam(), std::move(*engine), host_device(), cpu_tactics());
  auto retuned = retune_engine(foreign, quick(1), host_device(), cpu_tactics());
  ASSERT_TRUE(retuned.ok()) << retuned.error().message();
  expect_outputs(GetParam(), std::move(*retuned), host_device(), cpu_tactics());
}

TEST_P(Nets, GiveEqualResultsAfterSavingAndLoading) {
  const auto path = std::filesystem::temp_directory_path() / (std::string("planish_nets_") + GetParam().label);
  auto engine = build_engine(graph_of(GetParam()), quick(1), host_device(), cpu_tactics());
  ASSERT_TRUE(engine.ok()) << engine.error().message();
  ASSERT_TRUE(save_engine(*engine, path).ok());
  auto loaded = load_engine(path);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  expect_outputs(GetParam(), std::move(*loaded), host_device(), cpu_tactics());
  std::filesystem::remove(path);
}

TEST_P(Nets, WorkWithoutOneProvider) {
  for (const char* disabled : {"cpu.onednn", "cpu.pointwise", "cpu.move"}) {
    SCOPED_TRACE(disabled);
    BuildOptions options = quick(1);
    options.disabled_tactics = {disabled};
    auto engine = build_engine(graph_of(GetParam()), options, host_device(), cpu_tactics());
    ASSERT_TRUE(engine.ok()) << engine.error().message();
    for (size_t n = 0; n < engine->layers.size(); ++n) {
      if (engine->graph.nodes[n].is("Reformat", "planish")) continue;
      EXPECT_FALSE(engine->layers[n].tactic.starts_with(disabled)) << engine->graph.nodes[n].name;
    }
    expect_outputs(GetParam(), std::move(*engine), host_device(), cpu_tactics());
  }
}

INSTANTIATE_TEST_SUITE_P(All, Nets, testing::ValuesIn(kNets),
                         [](const auto& row) { return std::string(row.param.label); });

TEST(Profiles, MistakesAreNamed) {
  const Net net{"dynamic", "graph \"g\" (data: f32[N,3]) -> (y) {\n y = Relu(data)\n}"};
  struct Mistake {
    const char* input;
    ShapeRange range;
    const char* part;
  };
  for (const Mistake& m :
       {Mistake{"date", {{1, 3}, {1, 3}, {1, 3}}, "date"}, Mistake{"data", {{3}, {3}, {3}}, "data"},
        Mistake{"data", {{4, 3}, {2, 3}, {8, 3}}, "data"}, Mistake{"data", {{1, 3}, {9, 3}, {8, 3}}, "data"},
        Mistake{"data", {{1, 5}, {1, 5}, {1, 5}}, "[?,3]"}}) {
    BuildOptions options = quick(0);
    options.profiles = {{{m.input, m.range}}};
    auto engine = build_engine(graph_of(net), options, host_device(), cpu_tactics());
    ASSERT_FALSE(engine.ok()) << m.input << " " << to_string(m.range.opt);
    EXPECT_NE(engine.error().message().find(m.part), std::string::npos) << engine.error().message();
  }
}

TEST(TimingCacheMiss, IsAnErrorWhenAskedFor) {
  BuildOptions options = quick(3);
  options.use_timing_cache = true;
  options.timing_cache_file = std::filesystem::temp_directory_path() / "planish_empty_timing.cache";
  std::filesystem::remove(*options.timing_cache_file);
  options.error_on_timing_cache_miss = true;
  EXPECT_FALSE(build_engine(graph_of(kNets[0]), options, host_device(), cpu_tactics()).ok());
  options.error_on_timing_cache_miss = false;
  ASSERT_TRUE(build_engine(graph_of(kNets[0]), options, host_device(), cpu_tactics()).ok());
  BuildReport report;
  ASSERT_TRUE(build_engine(graph_of(kNets[0]), options, host_device(), cpu_tactics(), &report).ok());
  EXPECT_GT(report.from_cache, 0U);
  std::filesystem::remove(*options.timing_cache_file);
  std::filesystem::remove(options.timing_cache_file->string() + ".lock");
}

}  // namespace
}  // namespace planish
