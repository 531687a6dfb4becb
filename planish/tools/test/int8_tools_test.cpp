#include <gtest/gtest.h>

#include <cmath>

#include "planish/tools/calibration/foreign_ranges.h"
#include "planish/tools/histogram_report.h"
#include "planish/tools/int8_summary.h"
#include "planish/tools/judge.h"
#include "planish/tools/sensitivity.h"

namespace planish::tools {
namespace {

api::LayerInfo layer(const std::string& name, const std::string& op, const std::string& precision, double ms) {
  api::LayerInfo info;
  info.name = name;
  info.op = op;
  info.precision = precision;
  info.onnx_nodes = {name};
  info.tuned_time_ms = ms;
  return info;
}

TEST(Int8Summary, CountsAndExplains) {
  const std::vector<api::LayerInfo> layers{
      layer("conv1", "planish.QuantizedConv", "int8", 5), layer("to float", "planish.Reformat", "fp32", 1),
      layer("attn", "planish.FusedMatMul", "fp32", 2),    layer("conv2", "planish.FusedConv", "fp32", 0.5),
      layer("softmax", "Softmax", "fp32", 0.5),           layer("concat", "Concat", "int8", 1)};
  api::QuantizeReport report;
  report.quantised_nodes = 2;
  report.float_nodes = {{"attn", "both operands are activations"}};
  const Int8Summary summary = summarise_int8(layers, &report);
  EXPECT_EQ(summary.not_fused, std::vector<std::string>{"conv2"});
  const std::vector<std::string> expected{
      "INT8 summary: 1 of 4 layers that compute run in INT8, 50.0 % of the estimated time",
      "  moving elements without computing: 1 layers, 10.0 % of it",
      "  changing layouts and types between layers: 10.0 % of it",
      "  in float: 3 layers, 30.0 % of the time",
      "    both operands are activations: attn",
      "    quantised, but no integer kernel takes it: conv2",
      "    between float layers: softmax"};
  EXPECT_EQ(int8_summary_lines(summary), expected);
}

TEST(Int8Summary, KnowsNoReasonWithoutAPlan) {
  const Int8Summary summary = summarise_int8({layer("conv", "planish.FusedConv", "fp32", 1)}, nullptr);
  EXPECT_TRUE(summary.not_fused.empty());
  EXPECT_EQ(int8_summary_lines(summary).back(), "    between float layers: conv");
}

TEST(Int8Summary, LayersThatOnlyChangeTypesAreNoLayersInFloat) {
  api::LayerInfo quantise = layer("x/QuantizeLinear", "planish.Pointwise", "fp32", 1);
  quantise.onnx_nodes.clear();
  api::LayerInfo own = layer("q", "planish.Pointwise", "fp32", 1);  // the model's QuantizeLinear
  own.attributes.emplace_back("steps", std::vector<std::string>{"QuantizeLinear 0 scale=0.5 zero=0 type=i8"});
  const Int8Summary summary =
      summarise_int8({quantise, own, layer("conv", "planish.QuantizedConv", "int8", 1)}, nullptr);
  EXPECT_EQ(summary.float_layers, 0u);
  EXPECT_EQ(summary.reformat_ms, 2);
}

TEST(Int8Summary, SaysWhetherInt8LostAgainstFloat) {
  api::FloatFallback f;
  EXPECT_EQ(float_fallback_line(f), "");
  f.compared = true;
  EXPECT_EQ(float_fallback_line(f), "  INT8 lost against float in no layer");
  f.slower = {"a", "b"};
  EXPECT_EQ(float_fallback_line(f),
            "  INT8 alone is slower than float in 2 nodes, but converting types around them would cost more than that: "
            "a, b");
  f.int8_ms = 2;
  f.mix_ms = 2.1;
  EXPECT_EQ(float_fallback_line(f),
            "  INT8 alone is slower than float in 2 nodes, but a whole run takes 2.10 ms with float there, 2.00 ms "
            "without: a, b");
  f.mix_ms = 1.5;
  f.in_float = {"a"};
  EXPECT_EQ(float_fallback_line(f),
            "  INT8 lost against float in 1 nodes, which run in float (1.50 ms in all instead of 2.00 ms): a");
}

TEST(QuantisationNoise, FallsWithTheStepUntilClippingTakesOver) {
  api::RangeHistogram histogram{.tensor = "x", .bin_width = 1.0 / 1024, .counts = std::vector<int64_t>(1024, 10)};
  const double wide = quantisation_snr_db(histogram, 4.0 / 127).value_or(0);
  const double right = quantisation_snr_db(histogram, 1.0 / 127).value_or(0);
  const double narrow = quantisation_snr_db(histogram, 0.5 / 127).value_or(0);
  EXPECT_GT(right, wide);
  EXPECT_GT(right, narrow);
  // A uniform variable on [0, 1] has power 1/3; the step is 1/127.
  EXPECT_NEAR(right, 10 * std::log10(12.0 / 3 * 127 * 127), 0.2);
  EXPECT_FALSE(quantisation_snr_db(histogram, 0).has_value());
  histogram.counts.assign(1024, 0);
  EXPECT_FALSE(quantisation_snr_db(histogram, 1).has_value());
}

TEST(HistogramDrawing, IsEscapedAndShowsTheRange) {
  const api::RangeHistogram histogram{.tensor = "a<b>&c", .bin_width = 0.5, .counts = {4, 0, 1, 0}};
  const std::string svg = histogram_svg(histogram, 1.0 / 127);
  EXPECT_NE(svg.find("a&lt;b&gt;&amp;c"), std::string::npos);
  EXPECT_NE(svg.find("INT8 range 1<"), std::string::npos) << svg;
  EXPECT_NE(svg.find("|x| = 1.5<"), std::string::npos) << svg;
}

TEST(LayerPrecisions, AreTextThatTrtexecTakes) {
  EXPECT_EQ(layer_precisions_text({"/a/Conv", "b"}), "/a/Conv:fp32,b:fp32");
  EXPECT_EQ(all_but({"a", "b", "c"}, {"b"}), (std::vector<std::string>{"a", "c"}));
}

TEST(Agreement, ComparesAnswers) {
  Score a, b;
  EXPECT_FALSE(agreement(a, b).has_value());
  a.answers = {1, 2, 3, 4};
  b.answers = {1, 2, 0, 4};
  EXPECT_DOUBLE_EQ(agreement(a, b).value_or(0), 0.75);
  EXPECT_EQ(percent_text(0.5), "50.00 %");
  EXPECT_EQ(points_text(-0.004), "-0.40 points");
}

TEST(ForeignRanges, AreRead) {
  const auto ort = ranges_from_json(
      R"({"x": {"CLS": "TensorData", "lowest": {"CLS": "numpy.array", "data": [-2.54]}, "highest": [1.0]}, "y": [0, 1.27]})",
      "c.json");
  ASSERT_TRUE(ort.ok()) << ort.error().message();
  EXPECT_FLOAT_EQ(ort->ranges.at("x").scale, 0.02F);
  EXPECT_FLOAT_EQ(ort->ranges.at("y").scale, 0.01F);
  const auto lines = ranges_from_lines("conv 1 out 2.54\ny 1.27\n", "c.cache");
  ASSERT_TRUE(lines.ok()) << lines.error().message();
  EXPECT_FLOAT_EQ(lines->ranges.at("conv 1 out").scale, 0.02F);
  const auto bad = ranges_from_lines("y 1.27\nz what\n", "c.cache");
  ASSERT_FALSE(bad.ok());
  EXPECT_NE(bad.error().message().find("c.cache:2"), std::string::npos);
  const auto none = ranges_from_json(R"({"x": "nothing"})", "c.json");
  ASSERT_FALSE(none.ok());
  EXPECT_NE(none.error().message().find("'x'"), std::string::npos);
}

}  // namespace
}  // namespace planish::tools
