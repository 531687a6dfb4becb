// Calibration and quantisation of demo/digits.onnx through the public interface.

#include "planish/api/quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <random>

#include "planish/api/model_impl.h"
#include "planish/api/quantize_plan.h"
#include "planish/ir/text.h"

namespace planish::api {
namespace {

Model digits() {
  auto model = Model::read("demo/digits.onnx");
  EXPECT_TRUE(model.ok()) << model.error().message();
  return std::move(*model);
}

/// Batches of noise with the given numbers of rows; the batch `bad` holds a NaN.
class Noise : public CalibrationSource {
 public:
  Noise(const Model& model, std::vector<int64_t> rows, int64_t bad = -1)
      : info_(model.inputs()[0]), rows_(std::move(rows)), bad_(bad) {}

  Result<std::optional<CalibrationBatch>> next() override {
    if (at_ >= rows_.size()) return std::optional<CalibrationBatch>();
    std::vector<int64_t> dims = info_.dims;
    dims[0] = rows_[at_];
    int64_t size = 1;
    for (const int64_t d : dims) size *= d;
    std::mt19937 random(static_cast<uint32_t>(at_));
    std::uniform_real_distribution<float> uniform(0, 1);
    data_.resize(static_cast<size_t>(size));
    for (float& v : data_) v = uniform(random);
    if (static_cast<int64_t>(at_) == bad_) data_[7] = NAN;
    CalibrationBatch batch{.samples = rows_[at_], .origin = "batch " + std::to_string(at_)};
    batch.inputs.emplace_back(info_.name, HostTensor{DType::f32, dims, std::as_bytes(std::span(data_))});
    ++at_;
    return std::optional<CalibrationBatch>(batch);
  }
  Status rewind() override {
    at_ = 0;
    return {};
  }
  [[nodiscard]] std::string identity() const override { return "noise"; }
  [[nodiscard]] std::string description() const override { return "noise of the test"; }

 private:
  TensorInfo info_;
  std::vector<int64_t> rows_;
  int64_t bad_;
  size_t at_ = 0;
  std::vector<float> data_;
};

/// The same, telling how many samples there are.
class CountedNoise : public Noise {
 public:
  CountedNoise(const Model& model, std::vector<int64_t> rows, int64_t bad = -1) : Noise(model, rows, bad) {
    for (const int64_t r : rows) all_ += r;
  }
  [[nodiscard]] std::optional<int64_t> size() const override { return all_; }

 private:
  int64_t all_ = 0;
};

// Whether rows of the float network are taken during statistics, where the number of samples is known, or in a run of
// their own. EarlyRows' test compares the rows; the weights made of them are not compared here, since the two engines
// of the float network are tuned by the clock and round differently.
TEST(Calibrate, AdaptsTheSameLayersWhetherOrNotTheNumberOfSamplesIsKnown) {
  const Model model = digits();
  for (const int64_t bad : {-1, 2}) {
    Noise source(model, {4, 4, 4, 4, 4, 3}, bad);
    CountedNoise counted(model, {4, 4, 4, 4, 4, 3}, bad);
    const auto a = calibrate(model, source, {});
    const auto b = calibrate(model, counted, {});
    ASSERT_TRUE(a.ok() && b.ok());
    ASSERT_EQ(a->adapted_weights.size(), b->adapted_weights.size());
    ASSERT_FALSE(a->adapted_weights.empty());
    for (const auto& [name, weights] : a->adapted_weights)
      EXPECT_EQ(b->adapted_weights.at(name).q.size(), weights.q.size()) << name;
  }
}

// A TensorRT that reads the cache keeps in float what is around a tensor without a scale.
TEST(Calibrate, GivesEveryTensorARangeInTheOrderOfTheGraph) {
  const Model model = digits();
  Noise source(model, {4, 4, 4});
  const auto all = calibrate(model, source, {});
  ASSERT_TRUE(source.rewind().ok());
  CalibrationOptions options;
  options.inner_tensors = false;
  const auto some = calibrate(model, source, options);
  ASSERT_TRUE(all.ok() && some.ok());
  const Graph& graph = ModelAccess::impl(model).model.graph;
  std::vector<std::string> names{graph.value(graph.inputs[0]).name};
  for (const Node& node : graph.nodes)
    for (const ValueId v : node.outputs) names.push_back(graph.value(v).name);
  EXPECT_EQ(all->order, names);
  size_t inside = 0;
  for (const auto& [name, range] : all->ranges) {
    EXPECT_GT(range.scale, 0) << name;
    if (some->ranges.contains(name)) continue;
    ++inside;
    EXPECT_FLOAT_EQ(range.scale, std::max(std::abs(range.min), std::abs(range.max)) / 127) << name;
  }
  EXPECT_GT(inside, 5U);
  EXPECT_EQ(some->adapted_weights.size(), all->adapted_weights.size());
}

TEST(Calibrate, TakesRaggedBatchesAndSkipsABadOne) {
  const Model model = digits();
  Noise source(model, {5, 3, 1, 4, 2}, 2);
  CalibrationStats stats;
  const auto table = calibrate(model, source, {.max_bad_share = 0.2}, &stats);
  ASSERT_TRUE(table.ok()) << table.error().message();
  EXPECT_EQ(stats.samples, 14);
  EXPECT_EQ(stats.skipped, 1);
  ASSERT_EQ(stats.skipped_names.size(), 1U);
  EXPECT_NE(stats.skipped_names[0].find("batch 2"), std::string::npos);
  const auto input = table->ranges.find(model.inputs()[0].name);
  ASSERT_NE(input, table->ranges.end());
  EXPECT_NEAR(input->second.scale, 1.0F / 127, 0.001F);
  EXPECT_FALSE(table->channel_means.empty());
}

TEST(Calibrate, ABadSampleOfABatchCostsItself) {
  const Model model = digits();
  Noise source(model, {6, 6}, 1);
  CalibrationStats stats;
  const auto table = calibrate(model, source, {}, &stats);
  ASSERT_TRUE(table.ok()) << table.error().message();
  EXPECT_EQ(stats.samples, 11);
  EXPECT_EQ(stats.skipped, 1);
  ASSERT_EQ(stats.skipped_names.size(), 1U);
  EXPECT_NE(stats.skipped_names[0].find("batch 1, sample 0 of it"), std::string::npos) << stats.skipped_names[0];
}

TEST(Calibrate, RefusesDataThatYieldsNothingOrTooMuchRubbish) {
  const Model model = digits();
  Noise empty(model, {});
  const auto nothing = calibrate(model, empty, {});
  ASSERT_FALSE(nothing.ok());
  EXPECT_NE(nothing.error().what.find("empty"), std::string::npos);
  Noise bad(model, {1, 1, 1}, 1);
  const auto refused = calibrate(model, bad, {});
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message().find("batch 1"), std::string::npos);
}

/// Never ends, and has nothing for the network's input.
class EndlessRubbish : public CalibrationSource {
 public:
  Result<std::optional<CalibrationBatch>> next() override {
    ++asked;
    return std::optional(CalibrationBatch{.samples = 1, .origin = "rubbish"});
  }
  Status rewind() override { return {}; }
  [[nodiscard]] std::string identity() const override { return "rubbish"; }
  [[nodiscard]] std::string description() const override { return "rubbish"; }
  int asked = 0;
};

TEST(Calibrate, GivesUpWhereNothingFitsFromTheBeginning) {
  EndlessRubbish source;
  std::vector<std::string> warnings;
  CalibrationOptions options;
  options.warn = [&](const std::string& text) { warnings.push_back(text); };
  const auto refused = calibrate(digits(), source, options);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().what.find("none of the first 10"), std::string::npos) << refused.error().message();
  EXPECT_NE(refused.error().what.find("no data for this input"), std::string::npos) << refused.error().message();
  const std::string message = refused.error().message();
  EXPECT_EQ(message.find("Fix: "), message.rfind("Fix: ")) << message;
  EXPECT_LE(source.asked, 20);
  EXPECT_LE(warnings.size(), 11U);
}

TEST(Quantize, WritesAModelThatIsReadAgainAndNamesWhatStaysInFloat) {
  const Model model = digits();
  Noise source(model, {4});
  const auto table = calibrate(model, source, {});
  ASSERT_TRUE(table.ok()) << table.error().message();
  QuantizeReport report;
  const auto quantised = quantize(model, *table, {}, &report);
  ASSERT_TRUE(quantised.ok()) << quantised.error().message();
  EXPECT_GT(report.quantised_nodes, 0);
  for (const FloatNode& node : report.float_nodes) EXPECT_FALSE(node.reason.empty()) << node.node;
  const auto file = std::filesystem::path(testing::TempDir()) / "digits_qdq.onnx";
  ASSERT_TRUE(quantised->write(file).ok());
  const auto again = Model::read(file);
  ASSERT_TRUE(again.ok()) << again.error().message();
  EXPECT_TRUE(again->has_quantize_nodes());
  EXPECT_FALSE(quantize(*again, *table, {}).ok());
}

std::string onnx_bytes(const Model& model) {
  const auto file = std::filesystem::path(testing::TempDir()) / "compared.onnx";
  EXPECT_TRUE(model.write(file).ok());
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(Quantize, LimitsPairsOfAllWeightsButSingleOnesOnlyBesideUnsignedInputs) {
  const auto graph = parse_text(
      "graph \"g\" (x: f32[1,8,9,9]) -> (y) {\n const w: f32[4,8,1,1] = seed(3)\n"
      " y = Conv(x, w) @conv\n}");
  ASSERT_TRUE(graph.ok()) << graph.error().message();
  PlacementPlan plan;
  const ValueId x = graph->nodes[0].inputs[0];
  plan.products.push_back({0, x, graph->nodes[0].inputs[1], 0});
  for (const DType type : {DType::i8, DType::u8}) {
    plan.quantisers[x] = {.scale = 0.1F, .zero = 0, .type = type};
    const auto limit = [&](WeightRange range) {
      QuantizeOptions options;
      options.weight_range = range;
      return weight_limits(*graph, plan, options).at(0);
    };
    EXPECT_EQ(limit(WeightRange::full).pair, 0);
    EXPECT_EQ(limit(WeightRange::pairs).pair, kPairOfWeights) << "INT8 is moved up to UINT8 by the kernels";
    EXPECT_EQ(limit(WeightRange::pairs).neighbours.size(), 8U);
    EXPECT_EQ(limit(WeightRange::seven_bits).largest, type == DType::u8 ? kNarrowWeight : kLargestWeight);
  }
}

TEST(Quantize, MakesTheSameModelFromTheCacheAsFromTheTable) {
  const Model model = digits();
  Noise source(model, {4, 4, 4, 4});
  const auto table = calibrate(model, source, {.full_range = true, .weight_range = WeightRange::full});
  ASSERT_TRUE(table.ok()) << table.error().message();
  EXPECT_FALSE(table->adapted_weights.empty());
  const auto file = std::filesystem::path(testing::TempDir()) / "digits.cache";
  ASSERT_TRUE(table->write(file).ok());
  const auto back = CalibrationTable::read(file);
  ASSERT_TRUE(back.ok()) << back.error().message();
  std::vector<std::string> warnings;
  QuantizeOptions options;
  options.warn = [&warnings](const std::string& text) { warnings.push_back(text); };
  options.full_range = true;
  const std::string direct = onnx_bytes(*quantize(model, *table, options));
  EXPECT_EQ(onnx_bytes(*quantize(model, *back, options)), direct);
  EXPECT_TRUE(warnings.empty());
  options.weight_range = WeightRange::seven_bits;
  EXPECT_NE(onnx_bytes(*quantize(model, *back, options)), direct);
  EXPECT_EQ(warnings.size(), 1U) << "weights for other numbers are left out, with a word";
  options.weight_range = WeightRange::pairs;
  EXPECT_NE(onnx_bytes(*quantize(model, *back, options)), direct);
  EXPECT_EQ(warnings.size(), 2U);
}

TEST(Quantize, MakesTheSameEqualisedModelFromTheCacheAsFromTheTable) {
  const Model model = digits();
  ASSERT_TRUE(*can_equalise(model));
  Noise source(model, {4, 4, 4, 4});
  const auto table =
      calibrate(model, source, {.full_range = false, .weight_range = WeightRange::full, .equalization = true});
  ASSERT_TRUE(table.ok()) << table.error().message();
  ASSERT_NE(table->equalised, nullptr);
  EXPECT_FALSE(table->equalised->adapted_weights.empty());
  EXPECT_NE(table->equalised->ranges.begin()->second.scale, 0);
  const auto file = std::filesystem::path(testing::TempDir()) / "equalised.cache";
  ASSERT_TRUE(table->write(file).ok());
  auto back = CalibrationTable::read(file);
  ASSERT_TRUE(back.ok()) << back.error().message();
  ASSERT_NE(back->equalised, nullptr);
  std::vector<std::string> warnings;
  QuantizeOptions options{.equalization = true};
  options.warn = [&warnings](const std::string& text) { warnings.push_back(text); };
  const std::string direct = onnx_bytes(*quantize(model, *table, options));
  EXPECT_EQ(onnx_bytes(*quantize(model, *back, options)), direct);
  EXPECT_TRUE(warnings.empty());
  // The text alone is that of the network as it is: it says nothing about the equalised one.
  QuantizeOptions plain;
  EXPECT_NE(onnx_bytes(*quantize(model, *back, plain)), direct);
  // A scale that was edited does not fit what was measured beside it.
  CalibrationTable edited = *table;
  edited.equalised.reset();
  edited.ranges.begin()->second.scale *= 2;
  const std::string text = edited.cache_text();
  std::ofstream(file, std::ios::binary) << text;
  EXPECT_EQ(CalibrationTable::read(file)->equalised, nullptr);
}

TEST(Quantize, RefusesACacheOfAnotherModelAndListsWhatAPartialOneLacks) {
  const Model model = digits();
  CalibrationTable other;
  other.description = "cache other.cache";
  other.ranges["nobody"] = {.scale = 1};
  const auto refused = quantize(model, other, {});
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message().find("nobody"), std::string::npos);
  EXPECT_EQ(refused.error().file, "cache other.cache");
  other.ranges[model.inputs()[0].name] = {.scale = 1.0F / 127};
  std::vector<std::string> warnings;
  QuantizeOptions options;
  options.warn = [&warnings](const std::string& text) { warnings.push_back(text); };
  QuantizeReport report;
  ASSERT_TRUE(quantize(model, other, options, &report).ok());
  EXPECT_EQ(report.quantised_nodes, 1);
  EXPECT_EQ(warnings.size(), 1U);
}

TEST(CalibrationTable, KeepsEverythingInCacheAndSideFile) {
  CalibrationTable table;
  table.header = "TRT-101300-EntropyCalibration2";
  table.description = "folder (3 images)";
  table.model_hash = 0xfedcba9876543210ULL;
  table.samples = 3;
  table.order = {"b: c", "a"};
  table.ranges["b: c"] = {0.25F, -1, 2};
  table.ranges["a"] = {0.1F, -1, 3, 0.05F, 64};
  table.channel_means["a"] = {1, 2};
  table.adapted_weights["y"] = {{-127, 0, 5}, {0.5F}, 0.05F, 64, true, 127};
  const auto file = std::filesystem::path(testing::TempDir()) / "t.cache";
  ASSERT_TRUE(table.write(file).ok());
  const auto back = CalibrationTable::read(file);
  ASSERT_TRUE(back.ok()) << back.error().message();
  EXPECT_EQ(back->cache_text(), table.cache_text());
  EXPECT_EQ(back->order, table.order);
  EXPECT_EQ(back->model_hash, table.model_hash);
  EXPECT_EQ(back->channel_means, table.channel_means);
  EXPECT_EQ(back->ranges.at("a").unsigned_scale, 0.05F);
  EXPECT_EQ(back->ranges.at("a").unsigned_zero, 64);
  const AdaptedWeights& adapted = back->adapted_weights.at("y");
  EXPECT_EQ(adapted.q, (std::vector<int8_t>{-127, 0, 5}));
  EXPECT_EQ(adapted.bias, std::vector<float>{0.5F});
  EXPECT_EQ(adapted.input_scale, 0.05F);
  EXPECT_EQ(adapted.input_zero, 64);
  EXPECT_TRUE(adapted.input_unsigned);
  EXPECT_EQ(back->description, "cache t.cache from folder (3 images)");
  const auto json = CalibrationTable::from_json(table.to_json(), "j");
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(json->cache_text(), table.cache_text());
  EXPECT_FALSE(CalibrationTable::from_json("{\"tensors\": {\"a\": 0}}", "j").ok());
  EXPECT_FALSE(CalibrationTable::from_json("[1", "j").ok());
}

}  // namespace
}  // namespace planish::api
