// 16-bit engines: weights really stored in half the space, layers computed in 16 bits where the processor can, results
// close to FP32, exceptions named.

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "planish/api/half_check.h"
#include "planish/base/isa.h"
#include "planish/builder/builder.h"
#include "planish/ir/text.h"
#include "planish/ops/op.h"
#include "planish/runtime/context.h"
#include "planish/runtime/executable.h"
#include "planish/tactics/cpu/cpu_tactics.h"
#include "planish/tactics/half_weights.h"

namespace planish {
namespace {

constexpr const char* kNet =
    "graph \"g\" (x: f32[1,32,12,12]) -> (y) {\n const w1: f32[64,32,3,3] = seed(1, -0.2, 0.2)\n const w2: "
    "f32[64,64,3,3] = seed(2, -0.1, 0.1)\n c = Conv(x, w1) {pads = [1,1,1,1]} @first\n r = Relu(c) @relu\n y = Conv(r, "
    "w2) {pads = [1,1,1,1]} @second\n}";

Graph graph_of(const char* text) {
  auto graph = parse_text(text, "precision");
  EXPECT_TRUE(graph.ok()) << (graph.ok() ? "" : graph.error().message());
  return graph.ok() ? std::move(*graph) : Graph();
}

BuildOptions options() {
  BuildOptions o;
  o.optimization_level = 1;
  o.threads = 1;
  o.use_timing_cache = false;
  return o;
}

Engine build(Graph graph, const BuildOptions& o) {
  auto engine = build_engine(std::move(graph), o, host_device(), cpu_tactics());
  EXPECT_TRUE(engine.ok()) << (engine.ok() ? "" : engine.error().message());
  return engine.ok() ? std::move(*engine) : Engine();
}

Tensor run(Engine engine, const Tensor& x) {
  auto executable =
      Executable::create(std::make_shared<const Engine>(std::move(engine)), host_device(), cpu_tactics(), 1);
  EXPECT_TRUE(executable.ok()) << (executable.ok() ? "" : executable.error().message());
  auto context = Context::create(*executable);
  EXPECT_TRUE(context.ok());
  auto out = (*context)->run_host(std::vector<Tensor>{x});
  EXPECT_TRUE(out.ok()) << (out.ok() ? "" : out.error().message());
  return out.ok() ? (*out)[0] : Tensor();
}

double relative_l2(const Tensor& a, const Tensor& b) {
  double difference = 0;
  double norm = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    difference += std::pow(a.at(i) - b.at(i), 2);
    norm += std::pow(b.at(i), 2);
  }
  return std::sqrt(difference / norm);
}

uint64_t file_bytes(const Engine& engine) {
  const auto path = std::filesystem::temp_directory_path() / "planish_precision_test.engine";
  auto bytes = save_engine(engine, path);
  std::filesystem::remove(path);
  EXPECT_TRUE(bytes.ok());
  return bytes.ok() ? *bytes : 0;
}

/// Layers whose weights are that type, computed in it or only stored.
size_t layers_stored_as(const Engine& engine, DType type) {
  const std::string native = type == DType::f16 ? "fp16" : "bf16";
  size_t count = 0;
  for (const LayerPlan& layer : engine.layers)
    for (const PackedConstant& p : layer.packed) count += stored_type(p) == type || layer.precision == native ? 1 : 0;
  return count;
}

size_t layers_computed_in(const Engine& engine, std::string_view precision) {
  size_t count = 0;
  for (const LayerPlan& layer : engine.layers) count += layer.precision == precision ? 1 : 0;
  return count;
}

/// Every layer in BF16, however long it takes.
BuildOptions all_in_bf16() {
  BuildOptions o = options();
  o.bf16 = true;
  o.layer_precisions = {{"*", DType::bf16}};
  o.precision_constraints = PrecisionConstraints::obey;
  return o;
}

bool has_bf16() { return cpu_features().avx512_bf16 || cpu_features().amx_bf16; }

TEST(Precision, WeightsAreStoredInHalfTheSpaceAndStayClose) {
  const Tensor x = seeded_tensor(DType::f32, {1, 32, 12, 12}, 5, -1, 1);
  const Engine full = build(graph_of(kNet), options());
  const uint64_t full_bytes = file_bytes(full);
  const Tensor expected = run(full, x);
  for (const DType type : {DType::f16, DType::bf16}) {
    BuildOptions o = options();
    (type == DType::f16 ? o.fp16 : o.bf16) = true;
    const Engine half = build(graph_of(kNet), o);
    EXPECT_EQ(layers_stored_as(half, type), 2U);
    EXPECT_LT(static_cast<double>(file_bytes(half)), 0.6 * static_cast<double>(full_bytes));
    const Tensor got = run(half, x);
    const double error = relative_l2(got, expected);
    EXPECT_LT(error, 1e-2) << dtype_name(type);
    EXPECT_GT(error, 0) << "the weights were not rounded at all";
  }
}

TEST(Precision, NamedLayersAreKeptWhenConstraintsAreObeyed) {
  BuildOptions o = options();
  o.fp16 = true;
  o.layer_precisions = {{"*", DType::f16}, {"sec*", DType::f32}};
  o.precision_constraints = PrecisionConstraints::obey;
  EXPECT_EQ(layers_stored_as(build(graph_of(kNet), o), DType::f16), 1U);
  o.precision_constraints = PrecisionConstraints::none;
  EXPECT_EQ(layers_stored_as(build(graph_of(kNet), o), DType::f16), 2U);
}

TEST(Precision, WeightsBeyondTheRangeOfFp16StayAndAreListed) {
  const char* text =
      "graph \"g\" (x: f32[1,32,12,12]) -> (y) {\n const w: f32[64,32,3,3] = seed(1, -200000, 200000)\n y = Conv(x, w) "
      "{pads = [1,1,1,1]} @large\n}";
  BuildOptions o = options();
  o.fp16 = true;
  std::string warnings;
  o.warn = [&warnings](const std::string& text_of) { warnings += text_of; };
  const Engine kept = build(graph_of(text), o);
  EXPECT_EQ(layers_stored_as(kept, DType::f16), 0U);
  EXPECT_NE(warnings.find("large"), std::string::npos) << warnings;
  o.bf16 = true;
  EXPECT_EQ(layers_stored_as(build(graph_of(text), o), DType::bf16), 1U);
}

TEST(Precision, RetunedEnginesKeepTheirStorage) {
  BuildOptions o = options();
  o.fp16 = true;
  const Engine half = build(graph_of(kNet), o);
  auto again = retune_engine(half, options(), host_device(), cpu_tactics());
  ASSERT_TRUE(again.ok()) << again.error().message();
  EXPECT_EQ(layers_stored_as(*again, DType::f16), 2U);
  const Tensor x = seeded_tensor(DType::f32, {1, 32, 12, 12}, 5, -1, 1);
  EXPECT_LT(relative_l2(run(std::move(*again), x), run(half, x)), 1e-5);
}

TEST(Precision, LayersAreComputedInBf16WhereTheProcessorCan) {
  const Tensor x = seeded_tensor(DType::f32, {1, 32, 12, 12}, 5, -1, 1);
  const Engine engine = build(graph_of(kNet), all_in_bf16());
  EXPECT_EQ(layers_computed_in(engine, "bf16") > 0, has_bf16());
  const double error = relative_l2(run(engine, x), run(build(graph_of(kNet), options()), x));
  EXPECT_LT(error, 1e-2);
  EXPECT_GT(error, 0);
}

TEST(Precision, Bf16EnginesSurviveTheFileAndRetuning) {
  const Tensor x = seeded_tensor(DType::f32, {1, 32, 12, 12}, 5, -1, 1);
  const Engine engine = build(graph_of(kNet), all_in_bf16());
  const Tensor expected = run(engine, x);
  const auto path = std::filesystem::temp_directory_path() / "planish_bf16_test.engine";
  ASSERT_TRUE(save_engine(engine, path).ok());
  auto loaded = load_engine(path);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  EXPECT_EQ(relative_l2(run(*loaded, x), expected), 0);
  auto again = retune_engine(*loaded, options(), host_device(), cpu_tactics());
  std::filesystem::remove(path);
  ASSERT_TRUE(again.ok()) << again.error().message();
  EXPECT_EQ(again->graph.value(again->graph.outputs[0]).dtype, DType::f32);
  EXPECT_LT(relative_l2(run(std::move(*again), x), expected), 1e-2);
}

TEST(Precision, Bf16EnginesRunInF32WhereNothingComputesBf16) {
  const Tensor x = seeded_tensor(DType::f32, {1, 32, 12, 12}, 5, -1, 1);
  const Engine engine = build(graph_of(kNet), all_in_bf16());
  if (layers_computed_in(engine, "bf16") == 0) GTEST_SKIP() << "this processor does not multiply bf16";
  static const Tactic& whole = *cpu_tactics().find("cpu.onednn.conv");
  Tactic older = whole;
  older.supports = [](const NodeView& view, const Target& target) -> WhyNot {
    if (view.inputs[0].dtype != DType::f32) return "computes in f32";
    return whole.supports(view, target);
  };
  TacticTable table = cpu_tactics();
  for (const Tactic*& t : table.tactics)
    if (t == &whole) t = &older;
  auto executable = Executable::create(std::make_shared<const Engine>(engine), host_device(), table, 1);
  ASSERT_TRUE(executable.ok()) << executable.error().message();
  auto context = Context::create(*executable);
  ASSERT_TRUE(context.ok());
  auto out = (*context)->run_host(std::vector<Tensor>{x});
  ASSERT_TRUE(out.ok()) << out.error().message();
  EXPECT_LT(relative_l2((*out)[0], run(engine, x)), 1e-2);
}

TEST(Precision, LayersThatCannotObeyAreNamed) {
  const char* text =
      "graph \"g\" (x: f32[1,8,4,4]) -> (y) {\n const w: f32[8,8,1,1] = seed(1)\n const axis: i64[] = [2]\n c = "
      "Conv(x, w) "
      "@first\n s = CumSum(c, axis) @running\n y = Conv(s, w) @second\n}";
  BuildOptions o = all_in_bf16();
  EXPECT_TRUE(build_engine(graph_of(text), o, host_device(), cpu_tactics()).ok()) << "a pattern asks where it can";
  o.layer_precisions = {{"running", DType::bf16}};
  auto refused = build_engine(graph_of(text), o, host_device(), cpu_tactics());
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().node, "running") << refused.error().message();
}

TEST(Precision, OutputTypesAreObeyedOrRefused) {
  BuildOptions o = all_in_bf16();
  o.layer_output_types = {{"first", DType::f32}};
  const Engine engine = build(graph_of(kNet), o);
  for (const Node& node : engine.graph.nodes) {
    if (node.name.find("first") == std::string::npos || node.op != "FusedConv") continue;
    EXPECT_EQ(engine.graph.value(node.outputs[0]).dtype, DType::f32);
  }
  o.layer_output_types = {{"first", DType::i8}};
  EXPECT_FALSE(build_engine(graph_of(kNet), o, host_device(), cpu_tactics()).ok());
}

TEST(Precision, LayersThatSpoilTheResultGoBackToFp32) {
  // What distinguishes the channels vanishes when 1000 + x is rounded to 8 bits.
  const char* text =
      "graph \"g\" (x: f32[1,2,8,8]) -> (y) {\n const k: f32[] = [1000]\n const w: f32[2,2,1,1] = [1, -1, -1, 1]\n a = "
      "Add(x, "
      "k) @shift\n m = MaxPool(a) {kernel_shape = [1,1]} @pool\n y = Conv(m, w) @difference\n}";
  auto engine = api::build_checked(graph_of(text), all_in_bf16(), host_device(), cpu_tactics());
  ASSERT_TRUE(engine.ok()) << engine.error().message();
  EXPECT_EQ(layers_computed_in(*engine, "bf16"), 0U);
  const Tensor x = seeded_tensor(DType::f32, {1, 2, 8, 8}, 9, -1, 1);
  EXPECT_LT(relative_l2(run(*engine, x), run(build(graph_of(text), options()), x)), api::kMaxHalfError);
  if (!has_bf16()) return;
  bool said = false;
  for (const LayerPlan& layer : engine->layers) said |= layer.note.find("kept in FP32") != std::string::npos;
  EXPECT_TRUE(said);
}

TEST(Precision, NetworksOfIndicesMayDifferByMore) {
  if (!has_bf16()) GTEST_SKIP() << "this processor does not multiply bfloat16";
  // 1.5 - 1.0039 becomes 1.5 - 1: the result differs by 0.8 %, between the two bounds.
  const std::string rest =
      " two = Concat(x, x) {axis = 2} @both\n const w: f32[2,1] = [1.5, -1.0039]\n y = MatMul(two, w) @product\n}";
  const std::string tokens =
      "graph \"g\" (i: i64[1,64]) -> (y) {\n const t: f32[100,1] = seed(1)\n x = Gather(t, i) @table\n" + rest;
  const std::string floats = "graph \"g\" (x: f32[1,64,1]) -> (y) {\n" + rest;
  auto of_tokens = api::build_checked(graph_of(tokens.c_str()), all_in_bf16(), host_device(), cpu_tactics());
  ASSERT_TRUE(of_tokens.ok()) << of_tokens.error().message();
  EXPECT_GT(layers_computed_in(*of_tokens, "bf16"), 0U);
  auto of_floats = api::build_checked(graph_of(floats.c_str()), all_in_bf16(), host_device(), cpu_tactics());
  ASSERT_TRUE(of_floats.ok()) << of_floats.error().message();
  EXPECT_EQ(layers_computed_in(*of_floats, "bf16"), 0U);
}

TEST(Precision, WeightsThatSpoilTheResultStayFp32) {
  // The difference of the weights vanishes when they are rounded to 11 bits, whatever they are computed in.
  const char* text =
      "graph \"g\" (x: f32[1,1,8,8]) -> (y) {\n const w: f32[1,2,1,1] = [1000.3, -1000.1]\n c = Concat(x, x) {axis = "
      "1} "
      "@both\n y = Conv(c, w) @difference\n}";
  BuildOptions o = options();
  o.fp16 = true;
  o.disabled_tactics = {"cpu.onednn.conv"};  // which computes in 16 bits on some processors, and is another reason then
  auto engine = api::build_checked(graph_of(text), o, host_device(), cpu_tactics());
  ASSERT_TRUE(engine.ok()) << engine.error().message();
  EXPECT_EQ(layers_stored_as(*engine, DType::f16), 0U);
  const Tensor x = seeded_tensor(DType::f32, {1, 1, 8, 8}, 9, -1, 1);
  EXPECT_LT(relative_l2(run(*engine, x), run(build(graph_of(text), options()), x)), api::kMaxHalfError);
  bool said = false;
  for (const LayerPlan& layer : engine->layers)
    said |= layer.note.find("with all weights in 16 bits") != std::string::npos;
  EXPECT_TRUE(said);
}

/// A table whose convolutions accept f16, as on a processor that multiplies it.
const TacticTable& table_with_f16() {
  static Tactic half = kHostReferenceTactic;
  static const std::array<std::string_view, 1> ops{"planish.FusedConv"};
  half.id = "test.half_conv";
  half.ops = ops;
  half.supports = [](const NodeView& view, const Target& target) -> WhyNot {
    if (view.inputs[0].dtype != DType::f16) return "computes in f16 only";
    return kHostReferenceTactic.supports(view, target);
  };
  static const TacticTable table = [] {
    TacticTable t = cpu_tactics();
    t.tactics.insert(t.tactics.begin(), &half);
    return t;
  }();
  return table;
}

TEST(Precision, LayersBeyondTheRangeOfFp16StayInFp32AndAreListed) {
  const char* text =
      "graph \"g\" (x: f32[1,2,8,8]) -> (y) {\n const big: f32[2,2,1,1] = [60000, 50000, -60000, 50000]\n const small: "
      "f32[2,2,1,1] = [1e-4, 2e-4, 3e-4, -1e-4]\n const w: f32[2,2,1,1] = [1, 2, 3, 4]\n q = Conv(x, w) @quiet\n "
      "l = Conv(q, big) @loud\n s = Conv(l, small) @listener\n y = Conv(s, w) @last\n}";
  BuildOptions o = options();
  o.fp16 = true;
  o.layer_precisions = {{"*", DType::f16}};
  o.precision_constraints = PrecisionConstraints::obey;
  std::string warnings;
  o.warn = [&warnings](const std::string& text_of) { warnings += text_of; };
  auto engine = api::build_checked(graph_of(text), o, host_device(), table_with_f16());
  ASSERT_TRUE(engine.ok()) << engine.error().message();
  for (size_t n = 0; n < engine->graph.nodes.size(); ++n) {
    const std::string& name = engine->graph.nodes[n].name;
    const LayerPlan& layer = engine->layers[n];
    if (name == "loud" || name == "listener") {
      EXPECT_EQ(layer.precision, "fp32") << name;
      EXPECT_NE(layer.note.find("65504"), std::string::npos) << layer.note;
      EXPECT_NE(warnings.find(name), std::string::npos) << warnings;
    } else if (name == "quiet" || name == "last") {
      EXPECT_EQ(layer.precision, "fp16") << name;
    }
  }
}

TEST(Precision, HalfModelsComputeInF32AndStoreTheirWeightsInHalfAgain) {
  const char* text =
      "graph \"g\" (x: f16[1,32,12,12]) -> (y) {\n const w: f16[64,32,3,3] = seed(1, -0.2, 0.2)\n y = Conv(x, w) {pads "
      "= "
      "[1,1,1,1]} @first\n}";
  const Engine engine = build(graph_of(text), options());
  EXPECT_EQ(layers_stored_as(engine, DType::f16), 1U);
  EXPECT_EQ(engine.graph.value(engine.graph.inputs[0]).dtype, DType::f16);
  EXPECT_EQ(engine.graph.value(engine.graph.outputs[0]).dtype, DType::f16);
  const Tensor x = seeded_tensor(DType::f16, {1, 32, 12, 12}, 5, -1, 1);
  auto expected = interpret(graph_of(text), std::vector<Tensor>{x});
  ASSERT_TRUE(expected.ok());
  EXPECT_LT(relative_l2(run(engine, x), (*expected)[0]), 1e-3);
}

TEST(Precision, SumsOfAProductAndAResidualStayF32WhereAsked) {
  if (!cpu_features().avx512_bf16) GTEST_SKIP() << "this processor does not multiply bfloat16";
  BuildOptions o = options();
  o.bf16 = true;
  o.f32_sums = true;
  o.precision_constraints = PrecisionConstraints::obey;
  o.layer_precisions = {{"*", DType::bf16}};
  const Engine engine = build(graph_of("graph \"g\" (x: f32[64,96]) -> (y) {\n const w1: f32[96,256] = seed(1)\n const "
                                       "w2: f32[256,96] = seed(2)\n const w3: f32[96,64] = seed(3)\n a = MatMul(x, w1) "
                                       "@up\n r = Relu(a) @relu\n b = MatMul(r, w2) @down\n s = Add(b, x) @sum\n y = "
                                       "MatMul(s, w3) @last\n}"),
                              o);
  size_t sums = 0;
  for (size_t i = 0; i < engine.graph.nodes.size(); ++i) {
    const Node& node = engine.graph.nodes[i];
    if (!node.is("FusedMatMul", "planish")) continue;
    EXPECT_EQ(engine.layers[i].precision, "bf16") << node.name;
    if (node.in(3) == kNoValue) continue;
    ++sums;
    EXPECT_EQ(engine.graph.value(node.outputs[0]).dtype, DType::f32);
  }
  EXPECT_EQ(sums, 1U);
}

}  // namespace
}  // namespace planish
