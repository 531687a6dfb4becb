// Chains of layers as one layer: which are found, that they mean the same, and when none is taken.

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "planish/builder/chains.h"
#include "planish/ir/text.h"
#include "planish/ops/op.h"
#include "planish/tactics/cpu/cpu_tactics.h"
#include "planish/tactics/node_view.h"

namespace planish {
namespace {

constexpr const char* kResidual =
    "graph \"g\" (x: f32[1,16,9,9]) -> (y) {\n const w0: f32[32,16,1,1] = seed(1)\n const b0: f32[32] = seed(2)\n"
    " const w1: f32[32,1,3,3] = seed(3)\n const w2: f32[16,32,1,1] = seed(4)\n"
    " a = planish.FusedConv(x, w0, b0) {activation = \"Relu\"} @expand\n"
    " b = planish.FusedConv(a, w1) {group = 32, pads = [1,1,1,1]} @filter\n"
    " y = planish.FusedConv(b, w2, _, x) @project\n}";
constexpr const char* kGated =
    "graph \"g\" (x: f32[1,16,9,9]) -> (y) {\n const w0: f32[32,16,1,1] = seed(1)\n const w1: f32[32,1,3,3] = seed(3)\n"
    " const w2: f32[16,32,1,1] = seed(4)\n a = planish.FusedConv(x, w0) @expand\n"
    " b = planish.FusedConv(a, w1) {group = 32, strides = [2,2]} @filter\n g = GlobalAveragePool(b) @pool\n"
    " c = Mul(b, g) @gate\n y = planish.FusedConv(c, w2) @project\n}";
constexpr const char* kSqueezeExcite =
    "graph \"g\" (x: f32[1,32,9,9]) -> (y) {\n const w1: f32[32,1,3,3] = seed(3)\n const s0: f32[32] = seed(1)\n"
    " const w2: f32[8,32,1,1] = seed(4)\n const w3: f32[32,8,1,1] = seed(5)\n const w4: f32[16,32,1,1] = seed(6)\n"
    " b = planish.FusedConv(x, w1, s0) {group = 32, strides = [2,2]} @filter\n g = GlobalAveragePool(b) @pool\n"
    " s = planish.FusedConv(g, w2) {activation = \"Relu\"} @squeeze\n"
    " e = planish.FusedConv(s, w3, s0) {activation = \"Sigmoid\"} @excite\n c = Mul(e, b) @gate\n"
    " y = planish.FusedConv(c, w4) @project\n}";
constexpr const char* kBothReadElsewhere =
    "graph \"g\" (x: f32[1,16,9,9]) -> (y, a, b) {\n const w0: f32[32,16,1,1] = seed(1)\n"
    " const w1: f32[32,1,3,3] = seed(3)\n const w2: f32[16,32,1,1] = seed(4)\n a = planish.FusedConv(x, w0) @expand\n"
    " b = planish.FusedConv(a, w1) {group = 32} @filter\n y = planish.FusedConv(b, w2) @project\n}";

constexpr const char* kNormInFront =
    "graph \"g\" (x: f32[2,9,16]) -> (y) {\n const w: f32[16,24] = seed(1)\n const s: f32[16] = seed(2)\n"
    " n = LayerNormalization(x, s) @norm\n y = planish.FusedMatMul(n, w) {activation = \"Gelu\"} @product\n}";
constexpr const char* kNormBehind =
    "graph \"g\" (x: f32[2,9,16]) -> (y, z) {\n const w: f32[16,16] = seed(1)\n const b: f32[16] = seed(3)\n"
    " const s: f32[16] = seed(2)\n p = planish.FusedMatMul(x, w, b, x) @product\n"
    " y = LayerNormalization(p, s, b) @norm\n z = planish.FusedMatMul(y, w, _, y) @reader\n}";
constexpr const char* kNormReadElsewhere =
    "graph \"g\" (x: f32[2,9,16]) -> (y, z, p) {\n const w: f32[16,16] = seed(1)\n const s: f32[16] = seed(2)\n"
    " p = planish.FusedMatMul(x, w) @front\n n = LayerNormalization(p, s) @norm\n"
    " y = planish.FusedMatMul(n, w) @product\n z = Relu(n) @other\n}";
constexpr const char* kNormAlsoAdded =
    "graph \"g\" (x: f32[2,9,16]) -> (y) {\n const w: f32[16,16] = seed(1)\n const s: f32[16] = seed(2)\n"
    " n = LayerNormalization(x, s) @norm\n y = planish.FusedMatMul(n, w, _, n) @product\n}";
constexpr const char* kNormWithMean =
    "graph \"g\" (x: f32[2,9,16]) -> (y, m) {\n const w: f32[16,16] = seed(1)\n const s: f32[16] = seed(2)\n"
    " n, m = LayerNormalization(x, s) @norm\n y = planish.FusedMatMul(n, w) @product\n}";

/// Takes every chain and does nothing, so that no chosen tactic is faster.
class Idle final : public Kernel {
 public:
  Status run(const Bindings&) override { return {}; }
};
constexpr std::array<std::string_view, 1> kOps{"planish.Chain"};
constinit const Tactic kIdle{
    .id = "test.idle",
    .ops = kOps,
    .supports = [](const NodeView&, const Target&) -> WhyNot { return std::nullopt; },
    .prepare = [](const NodeView&, std::span<const PackedConstant>, const Target&) -> Result<std::unique_ptr<Kernel>> {
      return std::unique_ptr<Kernel>(std::make_unique<Idle>());
    }};

struct Fusion {
  Graph graph;
  std::optional<Graph> fused;
};

Fusion fuse(const char* text, double layer_ms, const std::vector<std::string>& disabled = {}, bool chains = true) {
  static const TacticTable table{{&kIdle, &kHostReferenceTactic}, {Layout::row_major}};
  Fusion f;
  auto graph = parse_text(text);
  EXPECT_TRUE(graph.ok());
  f.graph = std::move(*graph);
  const auto facts = infer_shapes(f.graph);
  EXPECT_TRUE(facts.ok());
  std::vector<std::optional<NodeView>> views;
  std::vector<Choice> choices;
  for (const Node& node : f.graph.nodes) {
    views.emplace_back(node_view(f.graph, node, facts->dtypes, facts->shapes, facts->values));
    choices.emplace_back().time_ms = layer_ms;
  }
  BuildOptions options;
  options.use_timing_cache = false;
  options.disabled_tactics = disabled;
  options.chains = chains;
  const Target target{.device = &host_device(), .threads = 1};
  TacticTimer timer(options, target);
  const auto found = find_chains(f.graph, views, choices, options, target, table, timer);
  if (!found.empty()) f.fused = with_chains(f.graph, found);
  return f;
}

void expect_same(const Fusion& f) {
  ASSERT_TRUE(f.fused);
  ASSERT_TRUE(verify(*f.fused).ok());
  const std::vector<Tensor> inputs{seeded_tensor(DType::f32, *f.graph.value(f.graph.inputs[0]).shape, 9, -1, 1)};
  const auto expected = interpret(f.graph, inputs);
  const auto got = interpret(*f.fused, inputs);
  ASSERT_TRUE(expected.ok());
  ASSERT_TRUE(got.ok()) << got.error().message();
  ASSERT_EQ((*got)[0].shape(), (*expected)[0].shape());
  for (int64_t i = 0; i < (*got)[0].size(); ++i) ASSERT_EQ((*got)[0].at(i), (*expected)[0].at(i)) << i;
}

constexpr double kSlow = 1000;

TEST(FuseChains, AnInvertedResidualIsOneLayer) {
  const Fusion f = fuse(kResidual, kSlow);
  expect_same(f);
  ASSERT_EQ(f.fused->nodes.size(), 1U);
  EXPECT_EQ(f.fused->nodes[0].name, "expand + filter + project");
}

TEST(FuseChains, StopsWhereTheWholeImageIsNeeded) {
  const Fusion f = fuse(kGated, kSlow);
  expect_same(f);
  ASSERT_EQ(f.fused->nodes.size(), 4U);
  EXPECT_EQ(f.fused->nodes[0].name, "expand + filter");
}

TEST(FuseChains, ASqueezeExciteBlockIsOneLayer) {
  const Fusion f = fuse(kSqueezeExcite, kSlow);
  expect_same(f);
  ASSERT_EQ(f.fused->nodes.size(), 1U);
  EXPECT_EQ(f.fused->nodes[0].name, "filter + pool + squeeze + excite + gate + project");
}

TEST(FuseChains, ANormalisationJoinsTheProductBehindIt) {
  const Fusion f = fuse(kNormInFront, kSlow);
  expect_same(f);
  ASSERT_EQ(f.fused->nodes.size(), 1U);
  EXPECT_EQ(f.fused->nodes[0].name, "norm + product");
}

TEST(FuseChains, ANormalisationJoinsTheProductInFrontOfIt) {
  const Fusion f = fuse(kNormBehind, kSlow);
  expect_same(f);
  ASSERT_EQ(f.fused->nodes.size(), 2U);
  EXPECT_EQ(f.fused->nodes[0].name, "product + norm");
}

TEST(FuseChains, LeavesNormalisationsThatOthersRead) {
  for (const char* text : {kNormReadElsewhere, kNormAlsoAdded, kNormWithMean})
    EXPECT_FALSE(fuse(text, kSlow).fused) << text;
}

/// With its strides the projection reads other pixels than it writes.
TEST(FuseChains, LeavesProjectionsWithStrides) {
  for (const char* text : {kSqueezeExcite, kResidual}) {
    std::string strided = text;
    const std::string project = text == kResidual ? "w2, _, x)" : "c, w4)";
    strided.replace(strided.find(project), project.size(),
                    (text == kResidual ? "w2)" : project) + std::string(" {strides = [2,2]}"));
    const Fusion f = fuse(strided.c_str(), kSlow);
    if (!f.fused) continue;
    expect_same(f);
    EXPECT_EQ(f.fused->nodes.back().name, "project");
  }
}

TEST(FuseChains, LeavesWhatOthersRead) { EXPECT_FALSE(fuse(kBothReadElsewhere, kSlow).fused); }

TEST(FuseChains, TakesNoChainThatIsSlower) { EXPECT_FALSE(fuse(kResidual, 0).fused); }

TEST(FuseChains, CanBeForbidden) { EXPECT_FALSE(fuse(kResidual, kSlow, {"test.idle"}).fused); }

/// As a network is built whose tensors are to be observed.
TEST(FuseChains, LeavesLayersThatAreObservedOneByOne) { EXPECT_FALSE(fuse(kResidual, kSlow, {}, false).fused); }

}  // namespace
}  // namespace planish
