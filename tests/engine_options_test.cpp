// What can be asked of an engine besides its results: types and layouts at its boundary, debug tensors, weights that
// leave and come back, sparsity, allowed tactics, memory limits.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "planish/builder/builder.h"
#include "planish/builder/refit.h"
#include "planish/builder/sparsity.h"
#include "planish/ir/text.h"
#include "planish/ops/op.h"
#include "planish/runtime/context.h"
#include "planish/runtime/executable.h"
#include "planish/tactics/cpu/cpu_tactics.h"
#include "planish/tactics/tactic_source.h"

namespace planish {
namespace {

/// Two convolutions with a batch norm, a residual and a classifier; `seed` decides all weights.
Graph network(int seed) {
  const std::string s = std::to_string(seed);
  auto graph = parse_text(
      "graph \"g\" (x: f32[N,4,12,12]) -> (y) {\n const w1: f32[16,4,3,3] = seed(" + s +
      "1, -0.3, 0.3)\n const w2: f32[16,16,3,3] = "
      "seed(" +
      s + "2, -0.1, 0.1)\n const b: f32[16] = seed(" + s + "3)\n const g: f32[16] = seed(" + s +
      "4, 0.5, 1.5)\n const m: f32[16] = "
      "seed(" +
      s + "5)\n const v: f32[16] = seed(" + s + "6, 0.5, 1.5)\n const w3: f32[16,10] = seed(" + s +
      "7)\n c = Conv(x, w1, b) "
      "{pads = [1,1,1,1]} @c1\n n = BatchNormalization(c, g, b, m, v) @bn\n r = Relu(n) @r1\n d = Conv(r, w2) {pads = "
      "[1,1,1,1]} @c2\n a = Add(d, r) @add\n t = Relu(a) @r2\n p = GlobalAveragePool(t) @gap\n f = Flatten(p) @f\n y = "
      "MatMul(f, w3) @fc\n}");
  EXPECT_TRUE(graph.ok()) << (graph.ok() ? "" : graph.error().message());
  return graph.ok() ? std::move(*graph) : Graph();
}

BuildOptions quick() {
  BuildOptions o;
  o.profiles = {{{"x", {{1, 4, 12, 12}, {2, 4, 12, 12}, {4, 4, 12, 12}}}}};
  o.optimization_level = 1;
  o.avg_timing = 1;
  o.threads = 1;
  o.use_timing_cache = false;
  return o;
}

Engine built(Graph graph, const BuildOptions& options, BuildReport* report = nullptr) {
  auto engine = build_engine(std::move(graph), options, host_device(), cpu_tactics(), report);
  EXPECT_TRUE(engine.ok()) << (engine.ok() ? "" : engine.error().message());
  return engine.ok() ? std::move(*engine) : Engine();
}

std::vector<Tensor> outputs_of(Engine engine, const Tensor& x) {
  auto executable =
      Executable::create(std::make_shared<const Engine>(std::move(engine)), host_device(), cpu_tactics(), 1);
  EXPECT_TRUE(executable.ok()) << (executable.ok() ? "" : executable.error().message());
  if (!executable.ok()) return {};
  auto context = Context::create(*executable);
  EXPECT_TRUE(context.ok());
  auto out = (*context)->run_host(std::vector{x});
  EXPECT_TRUE(out.ok()) << (out.ok() ? "" : out.error().message());
  return out.ok() ? std::move(*out) : std::vector<Tensor>();
}

std::vector<Tensor> expected_of(const Graph& graph, const Tensor& x) {
  auto out = interpret(graph, std::vector{x});
  EXPECT_TRUE(out.ok());
  return std::move(*out);
}

void expect_near(const Tensor& got, const Tensor& expected, double tolerance) {
  ASSERT_EQ(got.shape(), expected.shape());
  for (int64_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got.at(i), expected.at(i), tolerance) << "element " << i;
}

Tensor image() { return seeded_tensor(DType::f32, {2, 4, 12, 12}, 9, -1, 1); }

Tensor as_type(const Tensor& t, DType dtype) {
  Tensor out(dtype, t.shape());
  for (int64_t i = 0; i < t.size(); ++i) out.set(i, t.at(i));
  return out;
}

TEST(IoFormats, TypesChangeAtTheBoundaryOnly) {
  BuildOptions options = quick();
  options.io_formats = {{"x", {.dtype = DType::f16}}, {"y", {.dtype = DType::bf16}}};
  Engine engine = built(network(1), options);
  ASSERT_FALSE(engine.graph.inputs.empty());
  EXPECT_EQ(engine.graph.value(engine.graph.inputs[0]).dtype, DType::f16);
  EXPECT_EQ(engine.graph.value(engine.graph.inputs[0]).name, "x");
  EXPECT_EQ(engine.graph.value(engine.graph.outputs[0]).name, "y");
  const Tensor half = as_type(image(), DType::f16);
  const auto got = outputs_of(std::move(engine), half);
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(got[0].dtype(), DType::bf16);
  expect_near(got[0], expected_of(network(1), as_type(half, DType::f32))[0], 0.05);
}

TEST(IoFormats, LayoutsOfInputsAndOutputs) {
  const char* text =
      "graph \"g\" (x: f32[2,16,5,5]) -> (y, z) {\n const w: f32[16,16,3,3] = seed(2, -0.1, 0.1)\n y = Conv(x, w) "
      "{pads = "
      "[1,1,1,1]} @c\n z = Relu(y) @r\n}";
  const Graph graph = parse_text(text).value();
  const Tensor x = seeded_tensor(DType::f32, {2, 16, 5, 5}, 9, -1, 1);
  const auto expected = expected_of(graph, x);
  // [N,C,P] <-> [N,P,C], as the caller of a channels-last network stores it.
  const auto transposed = [](const Tensor& t, bool to_last) {
    Tensor out(DType::f32, t.shape());
    for (int64_t n = 0; n < 2; ++n)
      for (int64_t c = 0; c < 16; ++c)
        for (int64_t p = 0; p < 25; ++p) {
          const int64_t plain = (n * 16 + c) * 25 + p;
          const int64_t last = (n * 25 + p) * 16 + c;
          out.set(to_last ? last : plain, t.at(to_last ? plain : last));
        }
    return out;
  };
  for (const bool input : {true, false})
    for (const bool first : {true, false})
      for (const bool second : {true, false}) {
        SCOPED_TRACE(std::to_string(input) + std::to_string(first) + std::to_string(second));
        BuildOptions options = quick();
        options.profiles.clear();
        if (input) options.io_formats["x"] = {.layout = Layout::channels_last};
        if (first) options.io_formats["y"] = {.layout = Layout::channels_last};
        if (second) options.io_formats["z"] = {.layout = Layout::channels_last};
        const auto got = outputs_of(built(graph, options), input ? transposed(x, true) : x);
        ASSERT_EQ(got.size(), 2U);
        expect_near(first ? transposed(got[0], false) : got[0], expected[0], 1e-4);
        expect_near(second ? transposed(got[1], false) : got[1], expected[1], 1e-4);
      }
}

TEST(IoFormats, OutputsThatAreOnlyLookedAtAreNotCopied) {
  const Graph graph =
      parse_text(
          "graph \"g\" (x: f32[1,32,28,28]) -> (y, z) {\n const w: f32[32,32,3,3] = seed(2, -0.1, 0.1)\n"
          " const v: f32[32,32,3,3] = seed(3, -0.1, 0.1)\n y = Conv(x, w) {pads = [1,1,1,1]} @c\n"
          " z = Conv(y, v) {pads = [1,1,1,1]} @d\n}")
          .value();
  const auto copies = [](const Engine& engine) {
    int count = 0;
    for (const Node& node : engine.graph.nodes)
      for (const ValueId v : engine.graph.outputs) count += node.is("Reformat", "planish") && node.outputs[0] == v;
    return count;
  };
  BuildOptions options = quick();
  options.profiles.clear();
  const Engine rows = built(graph, options);
  options.outputs_as_made = true;
  const Engine as_made = built(graph, options);
  EXPECT_EQ(copies(as_made), 0);
  // Where the kernels write rows there is nothing to copy.
  const auto is_rows = [&](ValueId v) { return as_made.graph.value(v).layout == Layout::row_major; };
  if (!std::ranges::all_of(as_made.graph.outputs, is_rows)) {
    EXPECT_GT(copies(rows), 0);
  }
  const Tensor x = seeded_tensor(DType::f32, {1, 32, 28, 28}, 9, -1, 1);
  const auto expected = expected_of(graph, x);
  const auto got = outputs_of(as_made, x);
  ASSERT_EQ(got.size(), expected.size());
  for (size_t o = 0; o < got.size(); ++o) {
    const Layout layout = as_made.graph.value(as_made.graph.outputs[o]).layout;
    const int64_t block = layout == Layout::row_major ? 1 : layout == Layout::channels_last ? 32 : layout_block(layout);
    Tensor plain(DType::f32, expected[o].shape());
    for (int64_t c = 0; c < 32; ++c)
      for (int64_t p = 0; p < 28 * 28; ++p)
        plain.set(c * 28 * 28 + p, got[o].at((c / block * 28 * 28 + p) * block + c % block));
    expect_near(plain, expected[o], 1e-4);
  }
}

TEST(IoFormats, BytesMayHaveTheirChannelsLast) {
  const Graph graph = parse_text(
                          "graph \"g\" (x: u8[1,3,2,2]) -> (y) {\n const s: f32[] = [0.5]\n const z: u8[] = [3]\n"
                          " d = DequantizeLinear(x, s, z) @d\n r = Relu(d) @r\n"
                          " y = QuantizeLinear(r, s, z) @q\n}")
                          .value();
  const auto bytes = [](std::initializer_list<int> values) {
    Tensor t(DType::u8, {1, 3, 2, 2});
    for (int64_t i = 0; const int v : values) t.set(i++, v);
    return t;
  };
  BuildOptions options = quick();
  options.profiles.clear();
  options.io_formats["x"] = {.layout = Layout::channels_last};
  const auto got = outputs_of(built(graph, options), bytes({0, 10, 20, 1, 11, 21, 2, 12, 22, 3, 13, 23}));
  ASSERT_EQ(got.size(), 1U);
  const Tensor want = bytes({3, 3, 3, 3, 10, 11, 12, 13, 20, 21, 22, 23});
  for (int64_t i = 0; i < want.size(); ++i) EXPECT_EQ(got[0].at(i), want.at(i)) << i;
  options.io_formats["x"] = {.layout = Layout::blocked16};
  EXPECT_FALSE(build_engine(graph, options, host_device(), cpu_tactics()).ok());
}

TEST(IoFormats, UnknownNamesAndInt8WithoutAScaleAreErrors) {
  BuildOptions options = quick();
  options.io_formats = {{"nothing", {.dtype = DType::f16}}};
  EXPECT_FALSE(build_engine(network(1), options, host_device(), cpu_tactics()).ok());
  options.io_formats = {{"x", {.dtype = DType::i8}}};
  auto engine = build_engine(network(1), options, host_device(), cpu_tactics());
  ASSERT_FALSE(engine.ok());
  EXPECT_NE(engine.error().message().find("needs a scale"), std::string::npos) << engine.error().message();
}

TEST(DebugTensors, MarkedOnesSurviveFusionAndHoldTheirValues) {
  BuildOptions options = quick();
  options.debug_tensors = {"r", "d"};
  Engine engine = built(network(1), options);
  EXPECT_EQ(engine.info.debug_tensors, options.debug_tensors);
  Graph reference = network(1);
  for (const char* name : {"r", "d"}) reference.outputs.push_back(*reference.find_value(name));
  const auto got = outputs_of(std::move(engine), image());
  const auto expected = expected_of(reference, image());
  ASSERT_EQ(got.size(), 3U);
  for (size_t i = 0; i < 3; ++i) expect_near(got[i], expected[i], 1e-4);
  options.debug_tensors = {"no such tensor"};
  EXPECT_FALSE(build_engine(network(1), options, host_device(), cpu_tactics()).ok());
}

TEST(DebugTensors, EveryTensorAfterThePasses) {
  BuildOptions options = quick();
  options.debug_unfused_tensors = true;
  const Engine engine = built(network(1), options);
  EXPECT_GE(engine.info.debug_tensors.size(), 2U);
  EXPECT_EQ(outputs_of(engine, image()).size(), engine.info.debug_tensors.size() + 1);
}

TEST(Refit, WithoutWeightsAnEngineIsSmallAndWaits) {
  BuildOptions options = quick();
  options.info.refittable = true;
  const Engine whole = built(network(1), options);
  Engine stripped = whole;
  strip_weights(stripped);
  const auto folder = std::filesystem::temp_directory_path() / "planish_strip_test";
  std::filesystem::create_directories(folder);
  auto whole_bytes = save_engine(whole, folder / "whole");
  auto stripped_bytes = save_engine(stripped, folder / "stripped");
  ASSERT_TRUE(whole_bytes.ok() && stripped_bytes.ok());
  EXPECT_LT(*stripped_bytes + 8000, *whole_bytes);
  auto loaded = load_engine(folder / "stripped");
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  auto refused = Executable::create(std::make_shared<const Engine>(*loaded), host_device(), cpu_tactics(), 1);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message().find("without weights"), std::string::npos);
  auto refitted = refit_engine(*loaded, network(1), {}, host_device(), cpu_tactics());
  ASSERT_TRUE(refitted.ok()) << refitted.error().message();
  expect_near(outputs_of(std::move(*refitted), image())[0], expected_of(network(1), image())[0], 1e-4);
  std::filesystem::remove_all(folder);
}

TEST(Refit, TakesOtherWeightsOfTheSameNetwork) {
  for (const bool fp16 : {false, true}) {
    BuildOptions options = quick();
    options.info.refittable = true;
    options.fp16 = fp16;
    auto refitted = refit_engine(built(network(1), options), network(2), {}, host_device(), cpu_tactics());
    ASSERT_TRUE(refitted.ok()) << refitted.error().message();
    const double tolerance = fp16 ? 0.05 : 1e-4;
    expect_near(outputs_of(std::move(*refitted), image())[0], expected_of(network(2), image())[0], tolerance);
  }
}

TEST(Refit, RefusesOtherNetworksAndEnginesThatWereNotBuiltForIt) {
  BuildOptions options = quick();
  auto refused = refit_engine(built(network(1), options), network(1), {}, host_device(), cpu_tactics());
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message().find("--refit"), std::string::npos);
  options.info.refittable = true;
  const Engine engine = built(network(1), options);
  Graph wider = network(1);
  wider.value(*wider.find_value("w3")).constant = seeded_tensor(DType::f32, {16, 12}, 1, -1, 1);
  auto other = refit_engine(engine, std::move(wider), {}, host_device(), cpu_tactics());
  ASSERT_FALSE(other.ok());
  EXPECT_NE(other.error().message().find("fc"), std::string::npos) << other.error().message();
  EXPECT_FALSE(refittable_weights(engine).empty());
}

TEST(Sparsity, ForcingPrunesTwoOfEveryFour) {
  Graph graph = network(1);
  EXPECT_EQ(count_two_of_four(graph).sparse, 0U);
  EXPECT_EQ(count_two_of_four(graph).eligible, 3U);
  prune_to_two_of_four(graph);
  EXPECT_EQ(count_two_of_four(graph).sparse, 3U);
  const Graph dense = network(1);
  const Tensor& before = *dense.constant_of(*dense.find_value("w1"));
  const Tensor& after = *graph.constant_of(graph.nodes[0].inputs[1]);
  // Of input channels 0 to 3 of the first output channel at the first tap, the two largest stay.
  std::vector<double> kept;
  std::vector<double> cut;
  for (int64_t c = 0; c < 4; ++c) (after.at(c * 9) != 0 ? kept : cut).push_back(std::abs(before.at(c * 9)));
  ASSERT_EQ(kept.size(), 2U);
  EXPECT_GE(*std::ranges::min_element(kept), *std::ranges::max_element(cut));
  BuildOptions options = quick();
  options.prune_two_of_four = true;
  BuildReport report;
  const auto got = outputs_of(built(network(1), options, &report), image());
  EXPECT_EQ(report.sparse_layers, 3U);
  expect_near(got[0], expected_of(graph, image())[0], 1e-4);
}

TEST(TacticSources, AreSwitchedByNameAlsoForReformats) {
  EXPECT_EQ(tactic_source("cpu.onednn.conv"), "onednn");
  EXPECT_EQ(tactic_source("cpu.winograd.2x2"), "planish");
  EXPECT_EQ(tactic_source("cpu.reference"), "reference");
  EXPECT_TRUE(tactic_matches("cpu.onednn.conv", "cpu.onednn"));
  EXPECT_FALSE(tactic_matches("cpu.onednn.conv", ""));
  for (const char* source : {"onednn", "planish"}) {
    BuildOptions options = quick();
    options.disabled_tactics = {source};
    const Engine engine = built(network(1), options);
    bool others = false;
    for (const LayerPlan& layer : engine.layers) {
      EXPECT_TRUE(layer.tactic.empty() || tactic_source(layer.tactic) != source) << layer.tactic;
      others = others || !layer.tactic.empty();
    }
    EXPECT_TRUE(others);
    expect_near(outputs_of(engine, image())[0], expected_of(network(1), image())[0], 1e-4);
  }
}

TEST(MemoryLimit, HoldsWhileTacticsAreTimed) {
  BuildReport report;
  built(network(1), quick(), &report);
  // Input and output of the second convolution at batch 2.
  const size_t needed = 2 * 2 * 16 * 12 * 12 * sizeof(float);
  EXPECT_GE(report.tuning_peak_bytes, needed);
  EXPECT_FALSE(report.tuning_peak_layer.empty());
  BuildOptions options = quick();
  options.memory_limit_bytes = report.tuning_peak_bytes;
  BuildReport limited;
  built(network(1), options, &limited);
  EXPECT_LE(limited.tuning_peak_bytes, options.memory_limit_bytes);
  options.memory_limit_bytes = needed / 4;
  auto refused = build_engine(network(1), options, host_device(), cpu_tactics());
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message().find("limit"), std::string::npos) << refused.error().message();
}

}  // namespace
}  // namespace planish
