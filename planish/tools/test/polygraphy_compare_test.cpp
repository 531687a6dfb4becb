#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "planish/tools/polygraphy/compare.h"
#include "planish/tools/test/golden.h"

namespace planish::tools {
namespace {

Tensor f32(const Shape& shape, const std::vector<float>& values) { return Tensor::from_f32(values).reshaped(shape); }

const std::vector<float> kFirst{-0.77971375F, -2.733129F, -3.423085F,  12.340782F, -10.226293F,
                                0.6060264F,   -6.560736F, 0.13461517F, 4.336031F,  7.180199F};

std::vector<float> disturbed() {
  std::vector<float> values = kFirst;
  values[3] += 1e-3F;
  values[7] = 0;
  return values;
}

struct Compared {
  bool passed = false;
  std::string log;
  std::string json;
};

Compared compare(const NamedTensors& a, const NamedTensors& b, CompareOptions options,
                 int threshold = PolygraphyLog::info) {
  PolygraphyLog log;
  log.threshold = threshold;
  AccuracyComparison comparison(log, std::move(options));
  testing::internal::CaptureStdout();
  Compared out;
  const auto added = comparison.add({{"first-runner", &a}, {"second-runner", &b}});
  out.passed = added.ok() && *added;
  const bool finished = added.ok() && comparison.finish();
  EXPECT_EQ(finished, out.passed);
  std::fflush(stdout);
  out.log = testing::internal::GetCapturedStdout();
  out.json = added.ok() ? comparison.to_json() : added.error().message();
  return out;
}

CompareOptions with(std::vector<CompareFunction> functions) {
  CompareOptions options;
  options.functions = std::move(functions);
  return options;
}

TEST(PolygraphyCompare, EqualOutputsPass) {
  const NamedTensors a{{"logits", f32({2, 5}, kFirst)}};
  const Compared c = compare(a, a, {});
  EXPECT_TRUE(c.passed);
  expect_golden("polygraphy_compare_equal.txt", c.log);
}

TEST(PolygraphyCompare, DifferingOutputsAreShown) {
  const NamedTensors a{{"logits", f32({2, 5}, kFirst)}}, b{{"logits", f32({2, 5}, disturbed())}};
  const Compared c = compare(a, b,
                             with({CompareFunction::simple, CompareFunction::l2, CompareFunction::cosine_similarity,
                                   CompareFunction::psnr, CompareFunction::snr}));
  EXPECT_FALSE(c.passed);
  expect_golden("polygraphy_compare_different.txt", c.log);
  expect_golden("polygraphy_accuracy.json", c.json);
}

TEST(PolygraphyCompare, ElementsFailOnlyBeyondBothTolerances) {
  const NamedTensors a{{"y", f32({2}, {1000.5F, 1e-6F})}}, b{{"y", f32({2}, {1000, 2e-6F})}};
  CompareOptions options;
  options.rtol[""] = 1e-3;  // holds for the first; the second is within 1e-5
  EXPECT_TRUE(compare(a, b, options).passed);
  options.atol["y"] = 1e-7;
  EXPECT_FALSE(compare(a, b, options).passed);
  options.atol["y"] = 1;
  EXPECT_TRUE(compare(a, b, options).passed);
}

TEST(PolygraphyCompare, StatisticsJudgeTheWhole) {
  std::vector<float> zeros(100, 1), spike = zeros;
  spike[5] = 2;
  const NamedTensors a{{"y", f32({100}, spike)}}, b{{"y", f32({100}, zeros)}};
  for (const auto& [stat, passes] : {std::pair{"max", false}, std::pair{"mean", false}, std::pair{"median", true}}) {
    CompareOptions options;
    options.error_stat[""] = stat;
    EXPECT_EQ(compare(a, b, options).passed, passes) << stat;
  }
  CompareOptions quantile;
  quantile.error_stat["y"] = "quantile";
  quantile.quantile[""] = 0.5;
  const Compared c = compare(a, b, quantile);
  EXPECT_TRUE(c.passed);
  EXPECT_NE(c.log.find("(quantile=0.5)"), std::string::npos);
}

TEST(PolygraphyCompare, NaNFailsAndInfinitiesOnRequest) {
  const NamedTensors nan{{"y", f32({1}, {NAN})}};
  EXPECT_FALSE(compare(nan, nan, {}).passed);
  const NamedTensors infinity{{"y", f32({1}, {INFINITY})}};
  EXPECT_FALSE(compare(infinity, infinity, {}).passed);
  CompareOptions options;
  options.infinities_compare_equal = true;
  options.error_stat[""] = "elemwise";
  EXPECT_TRUE(compare(infinity, infinity, options).passed);
}

TEST(PolygraphyCompare, ShapesAndNames) {
  const NamedTensors a{{"y", f32({2, 2}, {1, 2, 3, 4})}}, flat{{"z", f32({4}, {1, 2, 3, 4})}};
  const Compared refused = compare(a, flat, {});
  EXPECT_FALSE(refused.passed);
  EXPECT_NE(refused.log.find("Assuming second-runner output: z corresponds to output: y"), std::string::npos);
  EXPECT_NE(refused.log.find("Will not compare outputs of different shapes"), std::string::npos);
  CompareOptions lenient;
  lenient.check_shapes = false;
  EXPECT_TRUE(compare(a, flat, lenient).passed);
  const Compared none = compare(a, {}, {});
  EXPECT_NE(none.json.find("All outputs were skipped, no common outputs found!"), std::string::npos);
}

TEST(PolygraphyCompare, IndicesMayShift) {
  const NamedTensors a{{"top", Tensor::from_i64(std::vector<int64_t>{3, 9, 8})}};
  const NamedTensors b{{"top", Tensor::from_i64(std::vector<int64_t>{9, 3, 8})}};
  CompareOptions options = with({CompareFunction::indices});
  EXPECT_FALSE(compare(a, b, options).passed);
  options.index_tolerance[""] = 1;
  EXPECT_TRUE(compare(a, b, options).passed);
}

TEST(PolygraphyCompare, AveragesOverIterations) {
  PolygraphyLog log;
  log.threshold = PolygraphyLog::finish;
  CompareOptions options = with({CompareFunction::l2});
  options.check_average = true;
  options.thresholds[CompareFunction::l2][""] = 1.5;
  AccuracyComparison comparison(log, options);
  const NamedTensors zero{{"y", f32({1}, {0})}}, two{{"y", f32({1}, {2})}};
  testing::internal::CaptureStdout();
  EXPECT_FALSE(*comparison.add({{"a", &two}, {"b", &zero}}));
  EXPECT_TRUE(*comparison.add({{"a", &zero}, {"b", &zero}}));
  EXPECT_TRUE(comparison.finish());
  std::fflush(stdout);
  const std::string text = testing::internal::GetCapturedStdout();
  EXPECT_NE(text.find("Accuracy Summary | a vs. b | Passed: 1/1 outputs"), std::string::npos) << text;
  EXPECT_NE(text.find("        L2 Norm: 1 (tolerance: 1.5) | PASSED"), std::string::npos) << text;
}

TEST(PolygraphyCompare, OptionsAreChecked) {
  ParsedOptions o;
  o.add("--check-error-stat", {"maximum"});
  ASSERT_FALSE(compare_options(o).ok());
  ParsedOptions average;
  average.add("--check-average", {});
  EXPECT_FALSE(compare_options(average).ok());
  average.add("--check-error-stat", {"max"});
  EXPECT_TRUE(compare_options(average).ok());
  ParsedOptions names;
  names.add("--atol", {"1e-3", "a:b:1e-2"});
  const auto parsed = compare_options(names);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(number_for(parsed->atol, "a:b", 0), 1e-2);
  EXPECT_EQ(number_for(parsed->atol, "other", 0), 1e-3);
}

}  // namespace
}  // namespace planish::tools
