#include "planish/api/adaptive_weights.h"

#include <algorithm>
#include <cmath>

#include "planish/api/gram.h"
#include "planish/api/layer_rows.h"
#include "planish/quant/output_threshold.h"

namespace planish::api {
namespace {

/// Layers with more weights per output channel would cost more than they gain.
constexpr int64_t kLargestK = 2304;
/// Rows per weight of an output channel that are looked at, and the bounds of their number.
constexpr int64_t kRowsPerWeight = 8;
constexpr int64_t kFewestRows = 2048;
constexpr int64_t kMostRows = 8192;
/// The quantised network is built and run this often at most; layers in between share a look at it.
constexpr size_t kStages = 16;
/// Rows that thresholds are tried on, and about how many are.
constexpr int64_t kThresholdRows = 1536;
constexpr double kThresholdTrials = 11;

double work_of(const LayerRows& layer) {
  const auto k = static_cast<double>(layer.k);
  return static_cast<double>(layer.groups) * k * k * (3 * static_cast<double>(layer.rows) + 6 * k);
}

/// The layers that the work allows, cheapest first, in the order of the graph.
std::vector<LayerRows> choose_layers(const Graph& graph, const PlacementPlan& plan, double work) {
  std::vector<LayerRows> all;
  for (const QuantisedProduct& p : plan.products) {
    if (!InputRows::possible(graph, p, kLargestK)) continue;
    const InputRows rows(graph, p);
    all.push_back({&p, rows.k(), rows.groups(), std::clamp(kRowsPerWeight * rows.k(), kFewestRows, kMostRows)});
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const LayerRows& a, const LayerRows& b) { return work_of(a) < work_of(b); });
  size_t count = 0;
  for (; count < all.size() && work >= work_of(all[count]); ++count) work -= work_of(all[count]);
  all.resize(count);
  std::sort(all.begin(), all.end(),
            [](const LayerRows& a, const LayerRows& b) { return a.product->node < b.product->node; });
  return all;
}

/// Consecutive layers that are handled together: those that read one tensor, and more where there are many.
std::vector<std::vector<LayerRows>> stages_of(const std::vector<LayerRows>& layers) {
  std::vector<std::vector<LayerRows>> by_input;
  for (const LayerRows& layer : layers) {
    if (by_input.empty() || by_input.back().front().product->input != layer.product->input) by_input.emplace_back();
    by_input.back().push_back(layer);
  }
  std::vector<std::vector<LayerRows>> stages;
  const size_t each = (by_input.size() + kStages - 1) / kStages;
  for (size_t i = 0; i < by_input.size(); ++i) {
    if (i % std::max<size_t>(each, 1) == 0) stages.emplace_back();
    stages.back().insert(stages.back().end(), by_input[i].begin(), by_input[i].end());
  }
  return stages;
}

/// What the plan says about nodes in front of `node`.
PlacementPlan plan_before(const PlacementPlan& plan, int32_t node) {
  PlacementPlan before;
  before.quantisers = plan.quantisers;
  for (const QuantisedProduct& p : plan.products)
    if (p.node < node) before.products.push_back(p);
  for (const auto& [v, uses] : plan.tensors)
    for (const QuantisedUse& use : uses)
      if (use.node < node) before.tensors[v].push_back(use);
  return before;
}

/// Tensors of the plan with the products that read them, in the order of the graph.
std::vector<LayerRows> readers_of(const Graph& graph, const PlacementPlan& plan, double work) {
  std::vector<LayerRows> layers;
  for (const QuantisedProduct& p : plan.products) {
    if (!InputRows::possible(graph, p, kLargestK)) continue;
    const InputRows rows(graph, p);
    const auto outputs = graph.constant_of(p.weights)->shape()[static_cast<size_t>(p.channel_axis)];
    work -= static_cast<double>(kThresholdRows * rows.k() * outputs) * kThresholdTrials;
    if (work < 0) break;
    layers.push_back({&p, rows.k(), rows.groups(), kThresholdRows});
  }
  std::stable_sort(layers.begin(), layers.end(),
                   [](const LayerRows& a, const LayerRows& b) { return a.product->input < b.product->input; });
  return layers;
}

}  // namespace

Status refine_ranges(const Graph& graph, const PlacementPlan& plan, const KeptSamples& samples,
                     const AdaptiveOptions& options, CalibrationTable& table) {
  const std::vector<LayerRows> layers = readers_of(graph, plan, options.work);
  const GramFunction gram = engine_gram(options.threads);
  for (size_t first = 0, end = 0; first < layers.size() && samples.batches() > 0; first = end) {
    end = fitting_layers(layers, first);
    const std::vector<LayerRows> next(layers.begin() + static_cast<ptrdiff_t>(first),
                                      layers.begin() + static_cast<ptrdiff_t>(end));
    const RowsByNode rows = PLANISH_TRY(collect_rows(graph, graph, next, samples, options.threads, options.profile));
    for (size_t i = 0, behind = 0; i < next.size(); i = behind) {
      if (options.progress) options.progress("ranges", first + i, layers.size());
      std::vector<TensorReader> readers;
      const ValueId tensor = next[i].product->input;
      for (behind = i; behind < next.size() && next[behind].product->input == tensor; ++behind)
        readers.push_back({next[behind].product, &rows.at(next[behind].product->node)});
      const auto range = table.ranges.find(graph.value(tensor).name);
      const auto quantiser = plan.quantisers.find(tensor);
      if (range == table.ranges.end() || quantiser == plan.quantisers.end()) continue;
      TensorRange& r = range->second;
      const TensorQuantization chosen = choose_by_output(graph, readers, quantiser->second, r.min, r.max, gram);
      if (chosen == quantiser->second) continue;
      (chosen.type == DType::u8 ? r.unsigned_scale : r.scale) = chosen.scale;
      if (chosen.type == DType::u8) r.unsigned_zero = static_cast<int32_t>(chosen.zero);
    }
  }
  if (options.progress) options.progress("ranges", layers.size(), layers.size());
  return {};
}

Result<std::set<int32_t>> adapt_weights(const Graph& graph, const PlacementPlan& plan, const KeptSamples& samples,
                                        const AdaptiveOptions& options, const std::map<int32_t, int>& largest,
                                        std::map<int32_t, QuantisedWeights>& weights) {
  std::set<int32_t> done;
  if (samples.batches() == 0) return done;
  const auto stages = stages_of(choose_layers(graph, plan, options.work));
  const GramFunction gram = engine_gram(options.threads);
  std::vector<LayerRows> layers;
  for (const auto& stage : stages) layers.insert(layers.end(), stage.begin(), stage.end());
  RowsByNode in_float;
  for (size_t s = 0; s < stages.size(); ++s) {
    if (options.progress) options.progress("rounding", s, stages.size());
    if (!std::ranges::all_of(stages[s], [&](const LayerRows& l) { return in_float.contains(l.product->node); })) {
      const auto first = static_cast<size_t>(std::ranges::find(layers, stages[s].front().product, &LayerRows::product) -
                                             layers.begin());
      const size_t end = std::max(fitting_layers(layers, first), first + stages[s].size());
      const std::vector<LayerRows> next(layers.begin() + static_cast<ptrdiff_t>(first),
                                        layers.begin() + static_cast<ptrdiff_t>(end));
      in_float = PLANISH_TRY(collect_rows(graph, graph, next, samples, options.threads, options.profile));
    }
    const PlacementPlan before = plan_before(plan, stages[s].front().product->node);
    Graph behind = PLANISH_TRY(place_qdq(graph, before, weights));
    RowsByNode quantised =
        PLANISH_TRY(collect_rows(std::move(behind), graph, stages[s], samples, options.threads, options.profile));
    for (const LayerRows& layer : stages[s]) {
      const int32_t node = layer.product->node;
      const auto quantiser = plan.quantisers.find(layer.product->input);
      if (quantiser == plan.quantisers.end() || !in_float.contains(node)) continue;
      InputRows& rows = quantised.at(node);
      round_to_steps(rows.values(), quantiser->second);
      auto made = reconstruct_weights(graph, *layer.product, in_float.at(node), rows, largest.at(node), gram);
      in_float.erase(node);
      quantised.erase(node);
      if (!made) continue;
      weights[node] = std::move(*made);
      done.insert(node);
    }
  }
  if (options.progress) options.progress("rounding", stages.size(), stages.size());
  return done;
}

}  // namespace planish::api
