// Walks quant/test/placement.ir: blocks of a float graph, a line of five dashes and the expected graph with Q/DQ,
// separated by lines of five equals signs. Scales: 0.01 for tensors named small*, none for unknown*, 0.5 for the rest;
// UINT8 where a graph is named "unsigned ...". PLANISH_UPDATE_GOLDENS=1 rewrites the expected parts.

#include "planish/quant/placement.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "planish/ir/text.h"
#include "planish/ops/op.h"
#include "planish/quant/weights.h"

namespace planish {
namespace {

constexpr const char* kFile = "planish/quant/test/placement.ir";

std::vector<std::string> split(const std::string& text, const std::string& line) {
  std::vector<std::string> parts{""};
  std::istringstream in(text);
  for (std::string l; std::getline(in, l);) {
    if (l == line)
      parts.emplace_back();
    else
      parts.back() += l + "\n";
  }
  return parts;
}

std::string without_comments(const std::string& text) {
  std::string out;
  std::istringstream in(text);
  for (std::string l; std::getline(in, l);) {
    if (const size_t hash = l.find(" #"); hash != std::string::npos) l.resize(hash);
    while (!l.empty() && l.back() == ' ') l.pop_back();
    if (!l.empty() && l[0] != '#') out += l + "\n";
  }
  return out;
}

PlacementOptions options_for(const Graph& graph) {
  PlacementOptions o;
  o.scale_of = [](const std::string& name) -> std::optional<float> {
    if (name.starts_with("unknown")) return std::nullopt;
    return name.starts_with("small") ? 0.01F : 0.5F;
  };
  if (graph.name.starts_with("unsigned"))
    o.unsigned_of = [](const std::string&, bool never_negative) -> std::optional<TensorQuantization> {
      if (!never_negative) return std::nullopt;
      return TensorQuantization{.scale = 0.25F, .type = DType::u8};
    };
  return o;
}

Result<Graph> quantised(const Graph& graph, PlacementPlan* plan_out = nullptr) {
  Graph tidy = PLANISH_TRY(tidy_for_quantisation(graph));
  const PlacementPlan plan = plan_quantisation(tidy, options_for(graph));
  std::map<int32_t, QuantisedWeights> weights;
  for (const QuantisedProduct& p : plan.products)
    weights[p.node] = quantise_weights(*tidy.constant_of(p.weights), p.channel_axis, true);
  if (plan_out != nullptr) *plan_out = plan;
  return place_qdq(tidy, plan, weights);
}

TEST(Placement, Golden) {
  std::ifstream file(kFile);
  std::stringstream text;
  text << file.rdbuf();
  std::string updated;
  for (const std::string& block : split(text.str(), "=====")) {
    const auto parts = split(block, "-----");
    const auto graph = parse_text(parts[0], kFile);
    ASSERT_TRUE(graph.ok()) << graph.error().message();
    const auto result = quantised(*graph);
    ASSERT_TRUE(result.ok()) << result.error().message();
    const std::string got = to_text(*result);
    updated += (updated.empty() ? "" : "=====\n") + parts[0] + "-----\n" + without_comments(got);
    if (std::getenv("PLANISH_UPDATE_GOLDENS") != nullptr) continue;
    ASSERT_EQ(parts.size(), 2U);
    EXPECT_EQ(without_comments(got), without_comments(parts[1]));
  }
  if (std::getenv("PLANISH_UPDATE_GOLDENS") != nullptr) std::ofstream(kFile) << updated;
}

Graph parsed(std::string_view text) {
  auto g = parse_text(text);
  EXPECT_TRUE(g.ok()) << g.error().message();
  return std::move(*g);
}

constexpr std::string_view kConv =
    "graph \"conv\" (x: f32[1,8,16,16]) -> (y) {\n"
    "  const w: f32[8,8,3,3] = seed(1)\n"
    "  const b: f32[8] = seed(2)\n"
    "  c = Conv(x, w, b) {pads = [1, 1, 1, 1]} @conv1\n"
    "  y = Relu(c) @relu1\n"
    "}\n";

TEST(Placement, NamesTensorsWithoutScaleAndKeepsTheirLayersInFloat) {
  Graph g = parsed(kConv);
  PlacementOptions none;
  none.scale_of = [](const std::string&) { return std::optional<float>(); };
  const PlacementPlan plan = plan_quantisation(*tidy_for_quantisation(g), none);
  EXPECT_TRUE(plan.products.empty());
  EXPECT_EQ(plan.without_scale, std::vector<std::string>{"x"});
  ASSERT_EQ(plan.float_nodes.size(), 1U);
  EXPECT_NE(plan.float_nodes[0].second.find("'x'"), std::string::npos);
}

TEST(Placement, ObeysTheListsOfNodes) {
  Graph g = *tidy_for_quantisation(parsed(kConv));
  PlacementOptions o;
  o.keep_float = {"conv*"};
  EXPECT_TRUE(plan_quantisation(g, o).products.empty());
  EXPECT_EQ(plan_quantisation(g, o).float_nodes[0].second, "kept in float on request");
  o.keep_float = {"relu*"};
  EXPECT_EQ(plan_quantisation(g, o).products.size(), 1U);
}

TEST(Placement, TheResultIsNearTheFloatGraph) {
  Graph g = parsed(kConv);
  Graph q = *tidy_for_quantisation(g);
  PlacementOptions o;
  o.scale_of = [](const std::string&) { return std::optional<float>(1.0F / 127); };
  const PlacementPlan plan = plan_quantisation(q, o);
  std::map<int32_t, QuantisedWeights> weights;
  for (const QuantisedProduct& p : plan.products)
    weights[p.node] = quantise_weights(*q.constant_of(p.weights), p.channel_axis, true);
  q = *place_qdq(q, plan, weights);
  const std::vector<Tensor> in{seeded_tensor(DType::f32, {1, 8, 16, 16}, 4, -1, 1)};
  const Tensor want = (*interpret(g, in))[0];
  const Tensor got = (*interpret(q, in))[0];
  double error = 0;
  double norm = 0;
  for (int64_t i = 0; i < want.size(); ++i) {
    error += std::pow(want.at(i) - got.at(i), 2);
    norm += std::pow(want.at(i), 2);
  }
  EXPECT_LT(std::sqrt(error / norm), 0.02);
  EXPECT_GT(std::sqrt(error / norm), 1e-4);
}

TEST(Weights, AreRoundedPerChannelAndZerosGetASaneScale) {
  Tensor w(DType::f32, {2, 3});
  for (int64_t i = 0; i < 3; ++i) w.set(i, static_cast<double>(i) - 1.0);
  const QuantisedWeights q = quantise_weights(w, 0, true);
  EXPECT_EQ(q.scale.at(0), 1.0F / 127);
  EXPECT_EQ(q.scale.at(1), 1.0F);
  EXPECT_EQ(q.q.at(0), -127);
  EXPECT_EQ(q.q.at(5), 0);
  w.set(0, NAN);
  w.set(1, INFINITY);
  const QuantisedWeights odd = quantise_weights(w, 0, false);
  EXPECT_EQ(odd.q.at(0), 0);
  EXPECT_EQ(odd.q.at(1), 127);
}

std::vector<std::array<int64_t, 2>> neighbours_in(std::string_view layer, std::string_view weights) {
  const Graph g = parsed(std::string("graph \"g\" (x: f32[?,?,?,?]) -> (y) {\n  const w: ") + std::string(weights) +
                         " = seed(1)\n  y = " + std::string(layer) + " @conv\n}\n");
  return weight_neighbours(g, {0, g.nodes[0].inputs[0], g.nodes[0].inputs[1], g.nodes[0].op == "Conv" ? 0 : 1});
}

TEST(Weights, NeighboursAreThoseThatKernelsAddInSixteenBits) {
  using Pair = std::array<int64_t, 2>;
  // Even channels: the next channel of the same tap, [C,R,S] = [4,2,3].
  const auto even = neighbours_in("Conv(x, w)", "f32[2,4,2,3]");
  EXPECT_EQ(even[0], (Pair{6, -1}));
  EXPECT_EQ(even[6], (Pair{0, -1}));
  EXPECT_EQ(even[17], (Pair{23, -1}));
  // Odd channels go on with the next tap of the row, [3,3,3]; the last of nine bytes stands alone.
  const auto odd = neighbours_in("Conv(x, w)", "f32[2,3,3,3]");
  EXPECT_EQ(odd[0], (Pair{9, -1}));
  EXPECT_EQ(odd[18], (Pair{1, -1}));
  EXPECT_EQ(odd[20], (Pair{-1, -1}));
  EXPECT_EQ(odd[21], (Pair{4, -1}));
  // Taps of groups, and of spread windows, do not follow each other.
  EXPECT_EQ(neighbours_in("Conv(x, w) {group = 2}", "f32[8,3,1,3]")[6], (Pair{-1, -1}));
  EXPECT_EQ(neighbours_in("Conv(x, w) {dilations = [1, 2]}", "f32[8,3,1,3]")[6], (Pair{-1, -1}));
  // Depthwise: the lines above and below.
  const auto lines = neighbours_in("Conv(x, w) {group = 8}", "f32[8,1,3,3]");
  EXPECT_EQ(lines[1], (Pair{-1, 4}));
  EXPECT_EQ(lines[4], (Pair{1, 7}));
  EXPECT_EQ(lines[7], (Pair{4, -1}));
  EXPECT_EQ(neighbours_in("MatMul(x, w)", "f32[5,7]"),
            (std::vector<Pair>{{1, -1}, {0, -1}, {3, -1}, {2, -1}, {-1, -1}}));
}

TEST(Weights, PairsOfOneSignShareTheirRange) {
  Tensor w(DType::f32, {2, 4});
  const std::array values{1.0, 1.0, -0.5, 0.2, 1.0, -1.0, 0.6, 0.3};
  for (size_t i = 0; i < values.size(); ++i) w.set(static_cast<int64_t>(i), values[i]);
  const WeightLimit limit{kLargestWeight, kPairOfWeights, {{1, -1}, {0, -1}, {3, -1}, {2, -1}}};
  const QuantisedWeights q = quantise_weights(w, 0, true, limit);
  EXPECT_EQ(q.scale.at(0), 1.0F / 64);
  EXPECT_EQ(q.q.at(0), 64);
  EXPECT_EQ(q.scale.at(1), 1.0F / 127);  // opposite signs do not add up
  EXPECT_EQ(q.q.at(5), -127);
  // Both of 63.5 + 64.5 would be rounded up, to 64 and 65 (ties to even: 64 and 64).
  Tensor halves(DType::f32, {1, 2});
  halves.set(0, 63.6);
  halves.set(1, 64.6);
  const QuantisedWeights r = quantise_weights(halves, 0, true, {kLargestWeight, kPairOfWeights, {{1, -1}, {0, -1}}});
  EXPECT_LE(r.q.at(0) + r.q.at(1), 128);
}

TEST(Weights, BiasCorrectionRestoresTheMeanOfTheResult) {
  Graph g = *tidy_for_quantisation(parsed(kConv));
  const PlacementPlan plan = plan_quantisation(g, {});
  ASSERT_EQ(plan.products.size(), 1U);
  QuantisedWeights w = quantise_weights(*g.constant_of(plan.products[0].weights), 0, false);
  const std::vector<float> means{1, 2, 3, 4, 5, 6, 7, 8};
  const auto shift = output_shift(g, plan.products[0], w, means, means);
  const Tensor back = dequantise(w, 0);
  double expected = 0;
  for (int64_t i = 0; i < 72; ++i)
    expected += (g.constant_of(plan.products[0].weights)->at(i) - back.at(i)) * means[static_cast<size_t>(i / 9)];
  EXPECT_NEAR(shift[0], expected, 1e-6);
  correct_bias(g, plan.products[0], shift, w);
  ASSERT_TRUE(w.bias.has_value());
  EXPECT_NEAR(w.bias->at(0), seeded_tensor(DType::f32, {8}, 2, -1, 1).at(0) + shift[0], 1e-5);
}

}  // namespace
}  // namespace planish
