// Adapting weights in several looks at the float network gives what one look gives.

#include "planish/api/adaptive_weights.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <random>
#include <set>

#include "planish/api/early_rows.h"
#include "planish/api/observed_network.h"
#include "planish/base/parallel.h"
#include "planish/ir/text.h"
#include "planish/ops/op.h"
#include "planish/quant/placement.h"
#include "planish/quant/reconstruction.h"

namespace planish::api {
namespace {

constexpr int kConvolutions = 80;  // more than one look at the quantised network each would be

/// Convolutions one behind the other, each second pair with a shortcut around it.
Graph chain() {
  std::string text = "graph \"g\" (t0: f32[1,16,8,8]) -> (y) {\n";
  for (int i = 0; i < kConvolutions; ++i) text += fmt::format("  const w{}: f32[16,16,1,1] = seed({})\n", i, i + 1);
  for (int i = 0; i < kConvolutions; i += 2) {
    text += fmt::format("  a{0} = Conv(t{0}, w{0}) {{}} @conv{0}\n  r{0} = Relu(a{0})\n", i);
    text += fmt::format("  b{0} = Conv(r{0}, w{1}) {{}} @conv{1}\n", i, i + 1);
    const std::string next = i + 2 < kConvolutions ? fmt::format("t{}", i + 2) : "y";
    text += i % 4 == 2 ? fmt::format("  {} = Add(b{}, t{})\n", next, i, i) : fmt::format("  {} = Relu(b{})\n", next, i);
  }
  auto graph = parse_text(text + "}\n", "chain");
  EXPECT_TRUE(graph.ok()) << graph.error().message();
  auto tidy = tidy_for_quantisation(std::move(*graph));
  EXPECT_TRUE(tidy.ok()) << tidy.error().message();
  return std::move(*tidy);
}

KeptSamples noise() {
  KeptSamples kept;
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  for (int i = 0; i < 6; ++i) {
    std::vector<float> data(16 * 8 * 8);
    for (float& v : data) v = normal(random);
    CalibrationBatch batch{.samples = 1, .origin = "noise"};
    batch.inputs.emplace_back("t0", HostTensor{DType::f32, {1, 16, 8, 8}, std::as_bytes(std::span(data))});
    kept.add(batch);
  }
  return kept;
}

std::map<int32_t, QuantisedWeights> adapted(const Graph& graph, int64_t row_bytes) {
  PlacementOptions numbers;
  numbers.scale_of = [](const std::string&) -> std::optional<float> { return 0.05F; };
  const PlacementPlan plan = plan_quantisation(graph, numbers);
  std::map<int32_t, QuantisedWeights> weights;
  std::map<int32_t, WeightLimit> limits;
  for (const QuantisedProduct& p : plan.products) {
    weights[p.node] = quantise_weights(*graph.constant_of(p.weights), p.channel_axis, true);
    limits[p.node] = {};
  }
  EXPECT_EQ(weights.size(), static_cast<size_t>(kConvolutions))
      << (plan.float_nodes.empty() ? "" : plan.float_nodes[0].second);
  const AdaptiveOptions options{.work = kPatientWork, .threads = 1, .row_bytes = row_bytes};
  const auto done = adapt_weights(graph, plan, noise(), options, limits, {}, weights);
  EXPECT_TRUE(done.ok()) << done.error().message();
  EXPECT_EQ(done.ok() ? done->size() : 0, weights.size());
  return weights;
}

TEST(AdaptWeights, TheMemoryForRowsChangesNothing) {
  const Graph graph = chain();
  const auto at_once = adapted(graph, kRowBytes);
  // A layer's rows are 6 samples of 64 places of 16 channels: room for one, two ... layers ends looks at every place of
  // a stage.
  for (const int64_t layers : {1, 2, 3, 5, 7, 11}) {
    const auto in_parts = adapted(graph, layers * 2048 * 16 * static_cast<int64_t>(sizeof(float)));
    ASSERT_EQ(in_parts.size(), at_once.size());
    for (const auto& [node, w] : at_once) {
      const QuantisedWeights& other = in_parts.at(node);
      for (int64_t i = 0; i < w.q.size(); ++i)
        ASSERT_EQ(w.q.at(i), other.q.at(i)) << graph.nodes[static_cast<size_t>(node)].name << ", room for " << layers;
    }
  }
}

void expect_near(const RowsByNode& got, const RowsByNode& want) {
  ASSERT_EQ(got.size(), want.size());
  for (const auto& [node, rows] : want) {
    const InputRows& other = got.at(node);
    ASSERT_EQ(other.rows(), rows.rows());
    for (size_t i = 0; i < rows.values().size(); ++i)
      ASSERT_NEAR(other.values()[i], rows.values()[i], 1e-3 * (1 + std::fabs(rows.values()[i])));
  }
}

int64_t bytes_of(const std::vector<LayerRows>& layers) {
  int64_t bytes = 0;
  for (const LayerRows& l : layers) bytes += l.bytes();
  return bytes;
}

TEST(AdaptWeights, RowsAreFewerWhereAllWouldNotFitTheMemory) {
  const Graph graph = chain();
  const PlacementPlan plan = plan_quantisation(graph, {});
  const double work = CalibrationOptions().adapt_work;
  const std::vector<LayerRows> all = layers_in_one_look(graph, plan, work);
  ASSERT_EQ(all.size(), static_cast<size_t>(kConvolutions));
  const int64_t half = bytes_of(all) / 2;
  const std::vector<LayerRows> fewer = layers_in_one_look(graph, plan, work, half);
  EXPECT_EQ(fewer.size(), all.size());
  EXPECT_LE(bytes_of(fewer), half);
  EXPECT_GT(bytes_of(fewer), half * 9 / 10);
  // Who asks for more work than the default gets all rows, in more looks.
  EXPECT_TRUE(layers_in_one_look(graph, plan, 2 * work, half).empty());
  EXPECT_TRUE(layers_in_one_look(graph, plan, work, half / 50).empty());  // too few to learn from
}

TEST(AdaptWeights, NetworksOfManyLayersGetLessEffortEach) {
  PlacementPlan plan = plan_quantisation(chain(), {});
  const double work = CalibrationOptions().adapt_work;
  EXPECT_EQ(adaptation_effort(plan, work).samples, 64);
  EXPECT_LT(adaptation_effort(plan, work).work, work);
  EXPECT_EQ(adaptation_effort(plan, 2 * work).samples, 128);
  EXPECT_EQ(adaptation_effort(plan, 2 * work).work, 2 * work);
  plan.products.resize(20);
  EXPECT_EQ(adaptation_effort(plan, work).samples, 128);
  EXPECT_EQ(adaptation_effort(plan, work).work, work);
}

TEST(AdaptWeights, BothNetworksShowAsManyRowsWhereTheMemoryLimitsThem) {
  auto parsed = parse_text(
      "graph \"g\" (t0: f32[1,16,8,8]) -> (y) {\n"
      "  const w0: f32[16,16,1,1] = seed(1)\n"
      "  const w1: f32[16,1,3,3] = seed(2)\n"
      "  a = Conv(t0, w0) {} @conv0\n"
      "  y = Conv(a, w1) {group = 16, pads = [1, 1, 1, 1]} @conv1\n"
      "}\n",
      "grouped");
  ASSERT_TRUE(parsed.ok());
  const Graph graph = std::move(*tidy_for_quantisation(std::move(*parsed)));
  PlacementOptions numbers;
  numbers.scale_of = [](const std::string&) -> std::optional<float> { return 0.05F; };
  numbers.force_int8 = {"conv0", "conv1"};
  const PlacementPlan plan = plan_quantisation(graph, numbers);
  ASSERT_EQ(plan.products.size(), 2U);
  const KeptSamples data = noise();
  const int64_t row_bytes = int64_t{300} << 10;  // half of it is room for 260 of the 512 rows of conv1
  const std::vector<LayerRows> layers = layers_in_one_look(graph, plan, CalibrationOptions().adapt_work, row_bytes);
  ASSERT_EQ(layers.size(), 2U);
  ASSERT_LT(layers[1].rows, 300);
  const ProfileRanges profile;
  LayerWalk walk(graph, data, 1, profile);
  auto seen = walk.look(graph, layers, static_cast<int32_t>(graph.nodes.size()));
  ASSERT_TRUE(seen.ok()) << seen.error().message();
  std::map<int32_t, QuantisedWeights> weights;
  std::map<int32_t, WeightLimit> limits;
  for (const QuantisedProduct& p : plan.products) {
    weights[p.node] = quantise_weights(*graph.constant_of(p.weights), p.channel_axis, true);
    limits[p.node] = {};
  }
  const AdaptiveOptions options{.work = CalibrationOptions().adapt_work, .threads = 1, .row_bytes = row_bytes};
  const auto done = adapt_weights(graph, plan, data, options, limits, std::move(*seen), weights);
  ASSERT_TRUE(done.ok()) << done.error().message();
  EXPECT_EQ(done->size(), 2U);
}

TEST(ObservedNetwork, SharesOutEverySecondAndEveryFourthPieceAndLeavesTheCallerItsThreads) {
  const Graph graph = chain();
  const KeptSamples data = noise();
  std::vector<CalibrationBatch> batches;
  for (size_t i = 0; i < 16; ++i) batches.push_back(data.batch(i % data.batches()));
  const ThreadsInScope threads(2);
  ObservedNetwork network(graph, {}, 2, {});
  std::mutex mutex;
  std::vector<int> worker(batches.size(), -1);
  const Status ran = network.run(batches, [&](const Piece& piece, std::string_view, const TensorDesc&, const void*) {
    const std::lock_guard lock(mutex);
    worker[piece.batch] = piece.worker;
  });
  ASSERT_TRUE(ran.ok()) << ran.error().message();
  EXPECT_EQ(num_threads(), 2);
  for (const size_t step : {1, 2, 4}) {
    int of_second = 0;
    for (size_t i = 0; i < worker.size(); i += step) of_second += worker[i];
    EXPECT_EQ(of_second, static_cast<int>(worker.size() / step / 2)) << "one in " << step;
  }
}

TEST(ObservedNetwork, ShowsEachTensorOnceAndNoCopies) {
  const Graph graph = chain();
  const KeptSamples data = noise();
  // What convolutions write becomes an output, and the network's input is copied into the layout of the kernels.
  std::set<std::string> needed;
  for (const Node& node : graph.nodes)
    if (node.is("Conv")) needed.insert(graph.value(node.outputs[0]).name);
  ObservedNetwork network(graph, needed, 1, {});
  std::map<std::string, int> shown;
  const CalibrationBatch batch = data.batch(0);
  const Status ran = network.run({&batch, 1}, [&](const Piece& piece, std::string_view name, const TensorDesc&,
                                                  const void*) { shown[std::string(name)] += piece.number == 0; });
  ASSERT_TRUE(ran.ok()) << ran.error().message();
  for (const auto& [name, times] : shown) {
    EXPECT_TRUE(graph.find_value(name).has_value()) << name;
    EXPECT_EQ(times, 1) << name;
  }
  for (const std::string& name : needed) EXPECT_TRUE(shown.contains(name)) << name;
}

TEST(LayerWalk, SeesTheSameWithAnyNumberOfThreads) {
  const Graph graph = chain();
  const PlacementPlan plan = plan_quantisation(graph, {});
  const KeptSamples data = noise();
  const ProfileRanges profile;
  const std::vector<LayerRows> layers = layers_in_one_look(graph, plan, kPatientWork);
  const auto look_with = [&](int threads) {
    LayerWalk walk(graph, data, threads, profile);
    auto rows = walk.look(graph, layers, static_cast<int32_t>(graph.nodes.size()));
    EXPECT_TRUE(rows.ok()) << rows.error().message();
    return std::move(*rows);
  };
  const RowsByNode one = look_with(1);
  for (const int threads : {2, 3, 7}) expect_near(look_with(threads), one);
}

TEST(LayerWalk, SeesBytesAsTheirValuesWhereverTheNetworkIsCut) {
  const Graph graph = chain();
  const PlacementPlan plan = plan_quantisation(graph, {});
  const KeptSamples data = noise();
  const ProfileRanges profile;
  Quantisers quantisers;
  for (const QuantisedProduct& p : plan.products)
    quantisers[graph.value(p.input).name] = {.scale = 0.05F, .zero = 130, .type = DType::u8};
  quantisers["r4"] = {.scale = 0.05F, .type = DType::i8};
  // Rows of the shortcuts' tensors are values, because an Add reads them, too.
  for (int i = 2; i < kConvolutions; i += 4) quantisers.erase(fmt::format("t{}", i));
  LayerWalk in_floats(graph, data, 1, profile);
  const std::vector<LayerRows> layers = layers_in_one_look(graph, plan, kPatientWork);
  auto floats = in_floats.look(graph, layers, static_cast<int32_t>(graph.nodes.size()));
  ASSERT_TRUE(floats.ok()) << floats.error().message();
  LayerWalk in_bytes(graph, data, 1, profile);
  int64_t as_bytes = 0;
  for (size_t i = 0; i < 6; i += 2) {
    const std::vector<LayerRows> next(layers.begin() + static_cast<ptrdiff_t>(i),
                                      layers.begin() + static_cast<ptrdiff_t>(i + 2));
    auto bytes = in_bytes.look(graph, next, next.front().product->node, quantisers);
    ASSERT_TRUE(bytes.ok()) << bytes.error().message();
    for (const LayerRows& layer : next) {
      InputRows& want = floats->at(layer.product->node);
      const InputRows& got = bytes->at(layer.product->node);
      const auto q = quantisers.find(graph.value(layer.product->input).name);
      ASSERT_EQ(got.rows(), want.rows());
      // What is behind a cut is computed from its bytes.
      const float far = i == 0 ? 0.0501F : 1.0F;
      if (q != quantisers.end()) round_to_steps(want.values(), q->second);
      for (size_t v = 0; v < got.values().size(); ++v) {
        ASSERT_NEAR(got.values()[v], want.values()[v], far) << layer.product->node;
        if (q == quantisers.end()) continue;
        ++as_bytes;
        const float step = got.values()[v] / q->second.scale;
        ASSERT_NEAR(step, std::nearbyint(step), 1e-3F);
      }
    }
  }
  EXPECT_GT(as_bytes, 0);
}

/// Products of the last of four dimensions, as ConvNeXt and Swin have them: their bytes are no image.
TEST(LayerWalk, SeesTheRowsOfProductsOfFourDimensions) {
  auto graph = parse_text(
      "graph \"g\" (t0: f32[1,16,8,8]) -> (y) {\n const w: f32[8,24] = seed(1)\n const v: f32[24,8] = seed(2)\n"
      " const u: f32[8,8] = seed(3)\n a = MatMul(t0, w) @first\n b = Relu(a)\n c = MatMul(b, v) @second\n"
      " d = Relu(c)\n y = MatMul(d, u) @third\n}",
      "products");
  ASSERT_TRUE(graph.ok()) << graph.error().message();
  graph = tidy_for_quantisation(std::move(*graph));
  ASSERT_TRUE(graph.ok()) << graph.error().message();
  const PlacementPlan plan = plan_quantisation(*graph, {});
  const KeptSamples data = noise();
  const ProfileRanges profile;
  const std::vector<LayerRows> layers = layers_in_one_look(*graph, plan, kPatientWork);
  ASSERT_GE(layers.size(), 2U);
  Quantisers quantisers;
  for (const LayerRows& l : layers) quantisers[graph->value(l.product->input).name] = {.scale = 0.05F};
  LayerWalk in_floats(*graph, data, 1, profile);
  const auto floats = in_floats.look(*graph, layers, static_cast<int32_t>(graph->nodes.size()));
  ASSERT_TRUE(floats.ok()) << floats.error().message();
  LayerWalk in_bytes(*graph, data, 1, profile);
  for (const LayerRows& l : layers) {
    const auto bytes = in_bytes.look(*graph, {l}, l.product->node, quantisers);
    ASSERT_TRUE(bytes.ok()) << bytes.error().message();
    const int32_t node = l.product->node;
    EXPECT_GT(bytes->at(node).rows(), 0);
    EXPECT_TRUE(std::ranges::equal(bytes->at(node).samples(), floats->at(node).samples()));
  }
}

TEST(EarlyRows, AreWhatALookAtTheKeptSamplesSees) {
  const Graph graph = chain();
  const PlacementPlan plan = plan_quantisation(graph, {});
  std::set<std::string> needed;
  for (const QuantisedProduct& p : plan.products) needed.insert(graph.value(p.input).name);
  ObservedNetwork network(graph, needed, 1, {});
  const KeptSamples data = noise();
  KeptSamples kept;
  EarlyRows early(graph, plan, kPatientWork);
  const auto show = [&early](const Piece& piece, std::string_view name, const TensorDesc& desc, const void* x) {
    early.show(piece, name, desc, static_cast<const float*>(x));
  };
  for (size_t i = 0; i < data.batches(); ++i) {
    const CalibrationBatch batch = data.batch(i);
    early.begin({&batch, 1}, network, data.samples(), kept);
    const Status run = network.run({&batch, 1}, show);
    ASSERT_TRUE(run.ok()) << run.error().message();
    kept.add(data.batch(i));
  }
  const auto seen = early.take(kept);
  ASSERT_TRUE(seen.has_value());
  const ProfileRanges profile;
  LayerWalk walk(graph, kept, 1, profile);
  const auto looked =
      walk.look(graph, layers_in_one_look(graph, plan, kPatientWork), static_cast<int32_t>(graph.nodes.size()));
  ASSERT_TRUE(looked.ok()) << looked.error().message();
  EXPECT_EQ(looked->size(), static_cast<size_t>(kConvolutions));
  expect_near(*seen, *looked);
}

}  // namespace
}  // namespace planish::api
