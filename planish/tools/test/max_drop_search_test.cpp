#include "planish/tools/max_drop_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace planish::tools {
namespace {

/// A network whose accuracy and time are written down per mix ("ab": nodes a and b in float).
struct FakeNetwork {
  std::map<std::string, std::pair<double, double>> mixes;  ///< accuracy, milliseconds
  std::vector<std::string> tried;

  Result<SearchResult> search(double max_drop, bool late = false) {
    const std::vector<NodeSensitivity> ranked{{.node = "a", .output_error = 0.4, .float_ms = 2, .int8_ms = 1},
                                              {.node = "b", .output_error = 0.3, .float_ms = 4, .int8_ms = 1},
                                              {.node = "c", .output_error = 0.1, .float_ms = 5, .int8_ms = 1}};
    const auto try_mix = [this](const std::vector<NodeSensitivity>& kept) -> Result<Measured> {
      std::string name;
      for (const NodeSensitivity& node : kept) name += node.node;
      tried.push_back(name);
      const auto& [accuracy, ms] = mixes.at(name);
      return Measured{.score = {.value = accuracy, .metric = "top-1"}, .ms = ms};
    };
    const auto now = std::chrono::steady_clock::now();
    const auto far = std::chrono::hours(late ? -1 : 1);
    return search_mix({.score = {.value = 0.9, .metric = "top-1"}, .ms = 10}, ranked,
                      {.max_drop = max_drop, .deadline = now + far}, try_mix, [](const std::string&) {});
  }
};

std::string names(const MixTrial& trial) {
  std::string text;
  for (const NodeSensitivity& node : trial.kept) text += node.node;
  return text;
}

TEST(MaxDropSearch, IsDoneWhenAllInInt8KeepsTheLimit) {
  FakeNetwork network{{{"", {0.895, 3}}}, {}};
  const auto found = network.search(0.01);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(network.tried, std::vector<std::string>{""});
  EXPECT_TRUE(found->chosen.enough);
  EXPECT_FALSE(found->all_float);
}

TEST(MaxDropSearch, TakesTheFastestMixNotTheOneWithFewestNodesInFloat) {
  // One node in float less, and slower: types are converted more often.
  FakeNetwork network{{{"", {0.5, 3}}, {"a", {0.6, 4}}, {"ab", {0.9, 5}}, {"b", {0.9, 7}}, {"abc", {0.9, 10}}}, {}};
  const auto found = network.search(0.01);
  ASSERT_TRUE(found.ok());
  EXPECT_NE(std::ranges::find(network.tried, "b"), network.tried.end());
  EXPECT_EQ(names(found->chosen), "ab");
  EXPECT_FALSE(found->all_float);
}

TEST(MaxDropSearch, SaysWhenInt8IsSlowerThanFloat) {
  for (const double ms : {9.0, 11.0}) {
    FakeNetwork network{{{"", {0.895, ms}}}, {}};
    const auto found = network.search(0.01);
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found->loses_time(), ms > 10);
  }
}

TEST(MaxDropSearch, FallsBackToFloatAndKnowsTheNearestMiss) {
  FakeNetwork network{
      {{"", {0.7, 3}}, {"a", {0.8, 4}}, {"ab", {0.75, 5}}, {"ac", {0.7, 6}}, {"bc", {0.7, 7}}, {"abc", {0.9, 10}}}, {}};
  const auto found = network.search(0.01);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(std::ranges::count(network.tried, "ab"), 1);  // what is known is not built again
  EXPECT_TRUE(found->all_float);
  EXPECT_TRUE(found->chosen.enough);
  EXPECT_FALSE(found->only_in_fp32);
  EXPECT_EQ(names(found->chosen), "abc");
  ASSERT_NE(found->nearest_miss(3), nullptr);
  EXPECT_EQ(names(*found->nearest_miss(3)), "a");
}

TEST(MaxDropSearch, FallsBackToFloatWhenTheTimeIsOver) {
  FakeNetwork network{{{"", {0.7, 3}}, {"abc", {0.9, 10}}}, {}};
  const auto found = network.search(0.01, true);
  ASSERT_TRUE(found.ok());
  EXPECT_TRUE(found->timed_out);
  EXPECT_TRUE(found->all_float);
  EXPECT_EQ(names(found->chosen), "abc");
}

TEST(MaxDropSearch, CountsFloatInHalfPrecisionAgainstFp32) {
  FakeNetwork network{{{"", {0.7, 3}}, {"a", {0.7, 3}}, {"ab", {0.7, 3}}, {"abc", {0.8, 6}}}, {}};
  const auto found = network.search(0.01);
  ASSERT_TRUE(found.ok());
  EXPECT_TRUE(found->only_in_fp32);
  EXPECT_TRUE(found->all_float);
  EXPECT_EQ(found->chosen.measured.score.value, 0.9);
}

}  // namespace
}  // namespace planish::tools
