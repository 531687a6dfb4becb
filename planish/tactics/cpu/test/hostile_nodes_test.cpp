// Nodes that no pass makes, but that a file can hold: the tactics refuse them instead of reading or writing elsewhere.

#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <string>

#include "planish/ir/text.h"
#include "planish/ops/infer_graph.h"
#include "planish/tactics/cpu/own_tactics.h"
#include "planish/tactics/layout_choice.h"
#include "planish/tactics/node_view.h"

namespace planish {
namespace {

struct Bound {
  Graph graph;
  NodeView view;
};

/// The only node of the graph in the notation of ir/text.h.
void parse_node(const std::string& text, Bound& b) {
  auto graph = parse_text(text);
  ASSERT_TRUE(graph.ok()) << graph.error().message();
  b.graph = std::move(*graph);
  ASSERT_EQ(b.graph.nodes.size(), 1U);
  const auto facts = infer_shapes(b.graph);
  ASSERT_TRUE(facts.ok()) << facts.error().message();
  b.view = node_view(b.graph, b.graph.nodes[0], facts->dtypes, facts->shapes, facts->values);
}

constexpr Layout kLayouts[] = {Layout::row_major, Layout::channels_last, Layout::blocked8, Layout::blocked16};

bool is_taken(const Tactic& tactic, const NodeView& view) {
  const Target target{.device = &host_device(), .threads = 1};
  return std::ranges::any_of(
      kLayouts, [&](Layout layout) { return !tactic.supports(with_layouts(view, layout, layout), target); });
}

struct Block {
  const char* label;
  const char* replaced;  ///< in the steps of kBlock
  const char* by;
};

/// A squeeze-and-excite block that is taken as it stands.
constexpr const char* kBlock =
    "graph \"g\" (x: f32[1,32,8,8]) -> (y) {\n const w1: f32[32,32,1,1] = seed(3)\n const w2: f32[32,32,1,1] = "
    "seed(5)\n"
    " const b: f32[32] = seed(6)\n const w3: f32[32,32,1,1] = seed(7)\n"
    " y = planish.Chain(x, w1, w2, b, w3) {steps = [\"GlobalAveragePool 0\", \"planish.FusedConv 5 1\", "
    "\"planish.FusedConv 6 2 3\", \"Mul 0 7\", \"planish.FusedConv 8 4 3\"], s2_activation = \"Sigmoid\"} @c\n}";

const Block kBlocks[] = {
    {"the_projection_has_strides", "s2_activation", "s4_strides = [2,2], s2_activation"},
    {"the_projection_has_pads", "s2_activation", "s4_pads = [1,1,1,1], s2_activation"},
    {"the_projection_is_shifted", "s2_activation", "s4_pads = [1,1,-1,-1], s2_activation"},
    {"the_squeezing_convolution_has_strides", "s2_activation", "s1_strides = [2,2], s2_activation"},
    {"the_exciting_convolution_is_shifted", "s2_activation", "s2_pads = [1,0,-1,0], s2_activation"},
    {"a_result_is_the_bias_of_excite", "6 2 3", "6 2 5"},
    {"a_result_is_the_bias_of_project", "8 4 3", "8 4 7"},
    {"a_result_is_the_residual", "8 4 3", "8 4 3 8"},
};

/// `whole` is taken by the tactic, and not with what any of the rows replaces.
void expect_taken_alone(const Tactic& tactic, const std::string& whole, std::span<const Block> rows) {
  Bound b;
  ASSERT_NO_FATAL_FAILURE(parse_node(whole, b));
  EXPECT_TRUE(is_taken(tactic, b.view));
  for (const Block& row : rows) {
    SCOPED_TRACE(row.label);
    std::string text = whole;
    text.replace(text.find(row.replaced), std::string(row.replaced).size(), row.by);
    Bound other;
    ASSERT_NO_FATAL_FAILURE(parse_node(text, other));
    EXPECT_FALSE(is_taken(tactic, other.view));
  }
}

TEST(HostileChains, TheBlockItselfIsTakenAndNoOther) { expect_taken_alone(kCpuSqueezeExcite, kBlock, kBlocks); }

/// A normalisation with the product behind it that is taken as it stands: weights of 32 rows and one column, so that
/// they could be a scale as well.
constexpr const char* kNormProduct =
    "graph \"g\" (x: f32[8,32]) -> (y) {\n const w: f32[32,1] = seed(3)\n const s: f32[32] = seed(5)\n"
    " const r: f32[8,1] = seed(6)\n"
    " y = planish.Chain(x, s, w, r) {steps = [\"LayerNormalization 0 1\", \"planish.FusedMatMul 4 2 _ 3\"]} @c\n}";
const Block kNormProducts[] = {
    {"the_weights_are_the_scale", "n 0 1", "n 0 2"},
    {"the_weights_are_the_shift", "n 0 1", "n 0 1 2"},
    {"the_product_does_not_read_the_normalisation", "l 4 2 _ 3", "l 0 2 _ 3"},
    {"a_result_is_the_bias", "l 4 2 _ 3", "l 4 2 4 3"},
    {"the_normalisation_is_of_columns", "]}", "], s0_axis = 0}"},
    {"there_are_two_normalisations", "planish.FusedMatMul 4 2 _ 3", "LayerNormalization 4 1"},
};

TEST(HostileChains, ANormalisationWithItsProductIsTakenAndNoOther) {
  expect_taken_alone(kCpuNormGemm, kNormProduct, kNormProducts);
}

TEST(HostileChains, NeedAnImage) {
  Bound b;
  ASSERT_NO_FATAL_FAILURE(parse_node(
      "graph \"g\" () -> (y) {\n y = planish.Chain() {steps = [\"RandomNormal\", \"Relu 0\"], s0_shape = [1,16,4,4]} "
      "@c\n}",
      b));
  for (const Tactic* tactic :
       {&kCpuConvChain, &kCpuConvChainChannels, &kCpuSqueezeExcite, &kCpuNormGemm, &kCpuNormStrassen})
    EXPECT_FALSE(is_taken(*tactic, b.view));
}

/// Convolutions around a depthwise one that may be divided by channels: the sum of all parts comes before the
/// activation.
constexpr const char* kAround =
    "graph \"g\" (x: f32[1,16,8,8]) -> (y) {\n const w0: f32[48,16,1,1] = seed(1)\n const w1: f32[48,1,3,3] = seed(3)\n"
    " const w2: f32[16,48,1,1] = seed(5)\n y = planish.Chain(x, w0, w1, w2) {steps = [\"planish.FusedConv 0 1\", "
    "\"planish.FusedConv 4 2\", \"planish.FusedConv 5 3 _ 0\"], s1_group = 48, s1_pads = [1,1,1,1], "
    "s2_activation = \"Relu\"} @c\n}";
const Block kArounds[] = {
    {"the_residual_comes_last", "s2_activation", "s2_residual_last = 1, s2_activation"},
    {"the_last_has_pads", "s2_activation", "s2_pads = [1,1,-1,-1], s2_activation"},
    {"the_last_reads_the_first", "v 5 3 _ 0", "v 4 3"},
    {"the_expansion_adds_something", "v 0 1\"", "v 0 1 _ 0\""},
};

TEST(HostileChains, ConvolutionsAroundADepthwiseOneAreTakenAndNoOther) {
  expect_taken_alone(kCpuConvChainChannels, kAround, kArounds);
}

TEST(HostileChains, PackedWeightsBelongToAnInput) {
  Bound b;
  ASSERT_NO_FATAL_FAILURE(parse_node(kBlock, b));
  for (const int32_t input : {-1, 0, 5, 7, 1000})
    EXPECT_FALSE(kCpuSqueezeExcite.unpack(b.view, {input, "even_panels:16:2", Tensor(DType::f32, {1024})}).ok())
        << input;
}

TEST(HostileForks, PackedWeightsBelongToAPart) {
  Bound b;
  ASSERT_NO_FATAL_FAILURE(parse_node(
      "graph \"g\" (x: u8[1,20,5,5]) -> (y) {\n const w: i8[8,20,1,1] = seed(1, -127, 128)\n"
      " const s: f32[1] = [0.001]\n const d: f32[8] = seed(2)\n"
      " y = planish.QuantizedFork(x, w, s, d, w, s, d) {first_y_type = \"u8\", second_y_type = \"u8\"} @q\n}",
      b));
  b.view = with_layouts(b.view, Layout::channels_last, Layout::channels_last);
  const Target target{.device = &host_device(), .threads = 1};
  const auto packed = kCpuFork.pack(b.view, target);
  ASSERT_TRUE(packed.ok()) << packed.error().message();
  ASSERT_EQ(packed->size(), 2U);
  for (const PackedConstant& p : *packed) EXPECT_TRUE(kCpuFork.unpack(b.view, p).ok());
  for (const int32_t input : {-1, 0, 2, 3, 5, 6, 7, 1000}) {
    PackedConstant other = (*packed)[0];
    other.input = input;
    EXPECT_FALSE(kCpuFork.unpack(b.view, other).ok()) << input;
  }
}

TEST(HostileForks, TakeNoMoreInputsThanTheirParts) {
  auto graph = parse_text(
      "graph \"g\" (x: u8[1,20,5,5]) -> (y) {\n const w: i8[8,20,1,1] = seed(1, -127, 128)\n"
      " const s: f32[1] = [0.001]\n const d: f32[8] = seed(2)\n"
      " y = planish.QuantizedFork(x, w, s, d, w, s, d, w) {first_y_type = \"u8\", second_y_type = \"u8\"} @q\n}");
  ASSERT_TRUE(graph.ok()) << graph.error().message();
  EXPECT_FALSE(infer_shapes(*graph).ok());
}

TEST(HostileProducts, PackedWeightsBelongToTheWeights) {
  Bound b;
  ASSERT_NO_FATAL_FAILURE(parse_node(
      "graph \"g\" (x: i8[9,16]) -> (y) {\n const w: i8[16,24] = seed(1, -127, 128)\n const s: f32[1] = [0.002]\n"
      " y = planish.QuantizedMatMul(x, w, s) {a_scale = 0.05} @q\n}",
      b));
  const Target target{.device = &host_device(), .threads = 1};
  auto packed = kCpuIgemm.pack(b.view, target);
  ASSERT_TRUE(packed.ok()) << packed.error().message();
  EXPECT_TRUE(kCpuIgemm.prepare(b.view, *packed, target).ok());
  (*packed)[0].input = 2;
  EXPECT_FALSE(kCpuIgemm.prepare(b.view, *packed, target).ok());
}

}  // namespace
}  // namespace planish
