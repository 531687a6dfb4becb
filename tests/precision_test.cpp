// 16-bit engines: weights really stored in half the space, results close to FP32, exceptions named.

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

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

size_t layers_stored_as(const Engine& engine, DType type) {
  size_t count = 0;
  for (const LayerPlan& layer : engine.layers)
    for (const PackedConstant& p : layer.packed) count += stored_type(p) == type ? 1 : 0;
  return count;
}

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

}  // namespace
}  // namespace planish
