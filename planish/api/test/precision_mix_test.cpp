#include "planish/api/precision_mix.h"

#include <gtest/gtest.h>

namespace planish::api {
namespace {

using Names = std::vector<std::string>;

TensorInfo tensor(const std::string& name, DType type, int64_t elements) {
  TensorInfo t;
  t.name = name;
  t.dtype = type;
  t.dims = {elements};
  return t;
}

struct Row {
  Names nodes;
  TensorInfo in;
  TensorInfo out;
  double ms = 0;
};

LayerProfile profile_of(const std::vector<Row>& rows) {
  LayerProfile profile;
  for (const Row& row : rows) {
    LayerInfo layer;
    layer.onnx_nodes = row.nodes;
    layer.inputs = {row.in};
    layer.outputs = {row.out};
    layer.constant_inputs = {false};
    profile.layers.push_back(layer);
    profile.layer_ms.push_back(row.ms);
  }
  return profile;
}

constexpr int64_t kSize = 1000;
TensorInfo f32(const std::string& name) { return tensor(name, DType::f32, kSize); }
TensorInfo u8(const std::string& name) { return tensor(name, DType::u8, kSize); }

/// input -> a -> b -> c -> output; `b` takes 3 ms in INT8 and `b_float_ms` in float, the others win in INT8.
LayerProfile float_chain(double b_float_ms) {
  return profile_of(
      {{{"a"}, f32("x"), f32("ya"), 4}, {{"b"}, f32("ya"), f32("yb"), b_float_ms}, {{"c"}, f32("yb"), f32("yc"), 4}});
}
LayerProfile int8_chain() {
  return profile_of({{{}, f32("x"), u8("xq"), 0.1},
                     {{"a"}, u8("xq"), u8("ya"), 1},
                     {{"b"}, u8("ya"), u8("yb"), 3},
                     {{"c"}, u8("yb"), f32("yc"), 1}});
}
const Names kProducts{"a", "b", "c"};

Names chosen(const MixProblem& problem, double conversions) {
  Names names;
  const std::vector<bool> in_float = float_groups(problem, conversions);
  for (size_t g = 0; g < in_float.size(); ++g)
    if (in_float[g]) names.insert(names.end(), problem.groups[g].products.begin(), problem.groups[g].products.end());
  return names;
}

TEST(PrecisionMix, LeavesALayerInFloatThatLosesMoreThanItsConversionsCost) {
  // One element takes 0.1 ms / 1000, so that both sides of b convert for 0.2 ms.
  EXPECT_EQ(chosen(mix_problem(float_chain(2.5), int8_chain(), kProducts), 1), Names{"b"});
  EXPECT_EQ(chosen(mix_problem(float_chain(2.7), int8_chain(), kProducts), 1), Names{});  // within the noise, and 0.2
  EXPECT_EQ(chosen(mix_problem(float_chain(2.5), int8_chain(), kProducts), 4), Names{});  // 0.8 of conversions
  EXPECT_EQ(chosen(mix_problem(float_chain(1.0), int8_chain(), kProducts), 4), Names{"b"});
}

TEST(PrecisionMix, NeverPutsGroupsWithoutBytesIntoInt8) {
  LayerProfile in_float = float_chain(1);
  LayerProfile in_int8 = int8_chain();
  in_int8.layers[2].inputs = {f32("ya")};
  in_int8.layers[2].outputs = {f32("yb")};
  in_int8.layer_ms[2] = 0.5;
  const MixProblem problem = mix_problem(in_float, in_int8, {"a", "c"});
  ASSERT_EQ(problem.groups.size(), 4u);  // and the world outside
  EXPECT_TRUE(problem.groups[1].always_float);
  EXPECT_TRUE(float_groups(problem, 1)[1]);
}

TEST(PrecisionMix, CountsAMeasuredConversionWhereItIs) {
  LayerProfile in_int8 = int8_chain();
  in_int8.layer_ms[0] = 7;  // quantising the input costs more than INT8 gains in a
  EXPECT_EQ(chosen(mix_problem(float_chain(2.5), in_int8, kProducts), 1), (Names{"a", "b", "c"}));
}

/// Forms whose times were written down before.
class FakeBench final : public MixBench {
 public:
  std::vector<LayerProfile> profiles;  ///< of the forms in the order of building
  std::pair<std::vector<double>, std::vector<double>> times;
  std::vector<Names> asked;
  size_t raced = 0;

  Result<LayerProfile> build(const Names& in_float) override {
    asked.push_back(in_float);
    return profiles[std::min(asked.size(), profiles.size()) - 1];
  }
  Result<std::pair<std::vector<double>, std::vector<double>>> race(size_t form) override {
    raced = form;
    return times;
  }
};

LayerProfile taking(double ms) { return profile_of({{{"all"}, f32("x"), f32("y"), ms}}); }

TEST(PrecisionMix, TakesAMixThatWholeRunsConfirm) {
  FakeBench bench;
  bench.profiles = {taking(4.4)};
  bench.times = {{5, 5.1, 5.2, 9}, {4.5, 4.6, 4.7, 9}};
  auto choice = choose_mix(float_chain(1), int8_chain(), kProducts, bench);
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(choice->form, 1u);
  EXPECT_EQ(bench.asked, std::vector<Names>{Names{"b"}});  // the same mix at every price of conversions
  EXPECT_EQ(choice->report.in_float, Names{"b"});
  EXPECT_EQ(choice->report.slower, Names{"b"});
  EXPECT_DOUBLE_EQ(choice->report.int8_ms, 5.1);
  EXPECT_DOUBLE_EQ(choice->report.mix_ms, 4.6);
}

TEST(PrecisionMix, StaysInInt8WhereWholeRunsDoNot) {
  FakeBench bench;
  bench.profiles = {taking(4.4)};
  bench.times = {{5, 5.1, 5.2, 9}, {4.9, 5.06, 5.3, 5.4}};
  auto choice = choose_mix(float_chain(1), int8_chain(), kProducts, bench);
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(choice->form, 0u);
  EXPECT_TRUE(choice->report.in_float.empty());
  EXPECT_EQ(choice->report.slower, Names{"b"});
  EXPECT_EQ(bench.raced, 1u);
}

TEST(PrecisionMix, DoesNotRunAMixWhoseBuildPromisesNothing) {
  FakeBench bench;
  bench.profiles = {taking(5.09)};  // all in INT8: 5.1
  auto choice = choose_mix(float_chain(1), int8_chain(), kProducts, bench);
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(choice->form, 0u);
  EXPECT_EQ(bench.raced, 0u);
  EXPECT_EQ(choice->report.int8_ms, 0);
}

TEST(PrecisionMix, BuildsNothingWhereInt8LosesNowhere) {
  FakeBench bench;
  auto choice = choose_mix(float_chain(4), int8_chain(), kProducts, bench);
  ASSERT_TRUE(choice.ok());
  EXPECT_TRUE(bench.asked.empty());
  EXPECT_TRUE(choice->report.compared);
  EXPECT_TRUE(choice->report.slower.empty());
}

TEST(PrecisionMix, TriesAllInFloatWhereFloatWinsAsAWhole) {
  const LayerProfile in_float = profile_of({{{"a", "b", "c"}, f32("x"), f32("yc"), 2}});
  FakeBench bench;
  bench.profiles = {taking(2)};
  bench.times = {{5, 5, 5}, {2, 2, 2}};
  auto choice = choose_mix(in_float, int8_chain(), kProducts, bench);
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(bench.asked.front(), kProducts);
  EXPECT_EQ(choice->report.in_float, kProducts);
}

TEST(PrecisionMix, AMarginMustShowInMedianAndLowerQuartile) {
  EXPECT_TRUE(clearly_faster({9, 9, 9, 9}, {10, 10, 10, 10}));
  EXPECT_FALSE(clearly_faster({9.8, 9.8, 9.8, 9.8}, {10, 10, 10, 10}));
  EXPECT_FALSE(clearly_faster({8, 9, 9, 9, 9}, {8, 8, 10, 10, 10}));
  EXPECT_FALSE(clearly_faster({}, {1}));
}

}  // namespace
}  // namespace planish::api
