#include "planish/api/adaptive_weights.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "planish/api/gram.h"
#include "planish/api/layer_rows.h"
#include "planish/base/isa.h"
#include "planish/base/parallel.h"
#include "planish/quant/output_threshold.h"

namespace planish::api {
namespace {

/// Layers with more weights per output channel would cost more than they gain.
constexpr int64_t kLargestK = 2304;
/// Rows per weight of an output channel that are looked at, and the bounds of their number.
constexpr int64_t kRowsPerWeight = 8;
constexpr int64_t kFewestRows = 2048;
constexpr int64_t kMostRows = 4096;
/// With as few they get by where more would not fit the memory.
constexpr int64_t kLeanRows = 1024;
/// Who allows more work than what nobody asks for gets so many times the rows, in matrices of this many values.
constexpr int64_t kPatientRows = 4;
constexpr int64_t kPatientValues = int64_t{10} << 20;
/// The same of convolutions in groups, which have few weights per output channel, but rows as wide as all groups; fewer
/// where all of them would take more than half of the memory.
constexpr int64_t kFewestGroupedRows = 128;
constexpr int64_t kGroupedRows = 512;
/// Where less work than the default is allowed.
constexpr int64_t kFewGroupedRows = 256;
/// Samples that are kept, and less effort where a network has more layers than this: each layer costs a look and
/// systems of equations, while the calibration as a whole should not take twice as long as inference.
constexpr int64_t kSamples = 128;
constexpr size_t kManyLayers = 40;
constexpr int64_t kSamplesOfLarge = 64;
constexpr double kWorkOfLarge = 0.3;
/// The quantised network is built and run this often at most; layers in between share a look at it.
constexpr size_t kStages = 64;
/// Rows that thresholds are tried on, and about how many thresholds are.
constexpr int64_t kThresholdRows = 1536;
constexpr double kThresholdTrials = 11;

LayerRows layer_of(const Graph& graph, const QuantisedProduct& product, double work) {
  const InputRows rows(graph, product);
  if (rows.groups() > 1)
    return {&product, rows.k(), rows.groups(), work < CalibrationOptions().adapt_work ? kFewGroupedRows : kGroupedRows};
  int64_t wanted = std::clamp(kRowsPerWeight * rows.k(), kFewestRows, kMostRows);
  if (work > CalibrationOptions().adapt_work)
    wanted = std::max(wanted, std::min(kPatientRows * wanted, kPatientValues / rows.k()));
  return {&product, rows.k(), rows.groups(), wanted};
}

/// Keeps the rows of layers in groups within half of `bytes`, and unless the `work` is more than the default those of
/// the others within the rest, where that leaves them enough for one look to see all of them.
void limit_rows(std::vector<LayerRows>& layers, int64_t bytes, double work) {
  int64_t row = 0;
  for (const LayerRows& layer : layers)
    if (layer.groups > 1) row += layer.groups * layer.k * static_cast<int64_t>(sizeof(float));
  const int64_t most = std::max(kFewestGroupedRows, bytes / 2 / std::max<int64_t>(row, 1));
  int64_t grouped = 0;
  int64_t others = 0;
  for (LayerRows& layer : layers) {
    if (layer.groups > 1) layer.rows = std::min(layer.rows, most);
    (layer.groups > 1 ? grouped : others) += layer.bytes();
  }
  const double share = static_cast<double>(std::max<int64_t>(bytes - grouped, 0)) / static_cast<double>(others + 1);
  if (share >= 1 || work > CalibrationOptions().adapt_work) return;
  std::vector<LayerRows> lean = layers;
  int64_t all = 0;
  for (LayerRows& layer : lean) {
    if (layer.groups == 1)
      layer.rows =
          std::min(layer.rows, std::max(kLeanRows, static_cast<int64_t>(static_cast<double>(layer.rows) * share)));
    all += layer.bytes();
  }
  if (all <= bytes) layers = std::move(lean);
}

double work_of(const LayerRows& layer) {
  const auto k = static_cast<double>(layer.k);
  return static_cast<double>(layer.groups) * k * k * (3 * static_cast<double>(layer.rows) + 6 * k);
}

/// The layers that the work allows, cheapest first, in the order of the graph.
std::vector<LayerRows> choose_layers(const Graph& graph, const PlacementPlan& plan, double work) {
  std::vector<LayerRows> all;
  for (const QuantisedProduct& p : plan.products) {
    if (!InputRows::possible(graph, p, kLargestK)) continue;
    all.push_back(layer_of(graph, p, work));
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

/// Index in the layers behind those of stage `s`, which begins at `first`, and of as many whole stages after it as end
/// by `limit`. Not a part of a stage: the next look begins with a stage, and where the network was cut behind the
/// beginning of it the cut lacks what its first layers read.
size_t whole_stages(const std::vector<std::vector<LayerRows>>& stages, size_t s, size_t first, size_t limit) {
  size_t end = first + stages[s].size();
  while (++s < stages.size() && end + stages[s].size() <= limit) end += stages[s].size();
  return end;
}

/// What the plan says about nodes from number `first` on in front of `node`.
PlacementPlan plan_between(const PlacementPlan& plan, int32_t first, int32_t node) {
  PlacementPlan between;
  between.quantisers = plan.quantisers;
  for (const QuantisedProduct& p : plan.products)
    if (p.node >= first && p.node < node) between.products.push_back(p);
  for (const auto& [v, uses] : plan.tensors)
    for (const QuantisedUse& use : uses)
      if (use.node >= first && use.node < node) between.tensors[v].push_back(use);
  return between;
}

/// Quantisers of the tensors that nodes from number `node` on read in quantised form alone.
Quantisers read_as_bytes(const Graph& graph, const PlacementPlan& plan, int32_t node) {
  std::set<ValueId> in_float;
  for (auto n = static_cast<size_t>(node); n < graph.nodes.size(); ++n)
    for (size_t slot = 0; slot < graph.nodes[n].inputs.size(); ++slot) {
      const ValueId v = graph.nodes[n].inputs[slot];
      const auto uses = plan.tensors.find(v);
      const bool quantised =
          uses != plan.tensors.end() && std::ranges::any_of(uses->second, [&](const QuantisedUse& use) {
            return static_cast<size_t>(use.node) == n && use.slot == slot;
          });
      if (!quantised) in_float.insert(v);
    }
  Quantisers found;
  for (const auto& [v, quantiser] : plan.quantisers)
    if (!in_float.contains(v)) found.emplace(graph.value(v).name, quantiser);
  return found;
}

/// Tensors of the plan with the products that read them, in the order of the graph.
std::vector<LayerRows> readers_of(const Graph& graph, const PlacementPlan& plan, double work) {
  const double all_work = work;
  std::vector<LayerRows> layers;
  for (const QuantisedProduct& p : plan.products) {
    if (!InputRows::possible(graph, p, kLargestK)) continue;
    LayerRows layer = layer_of(graph, p, all_work);
    layer.rows = std::min(layer.rows, kThresholdRows);
    const auto outputs = graph.constant_of(p.weights)->shape()[static_cast<size_t>(p.channel_axis)];
    work -= static_cast<double>(layer.rows * layer.k * outputs) * kThresholdTrials;
    if (work < 0) break;
    layers.push_back(layer);
  }
  std::stable_sort(layers.begin(), layers.end(),
                   [](const LayerRows& a, const LayerRows& b) { return a.product->input < b.product->input; });
  return layers;
}

/// Range of `tensor` by what it does to `readers`.
void refine_range(const Graph& graph, const PlacementPlan& plan, ValueId tensor,
                  const std::vector<TensorReader>& readers, const GramFunction& gram, CalibrationTable& table) {
  const auto range = table.ranges.find(graph.value(tensor).name);
  const auto quantiser = plan.quantisers.find(tensor);
  if (range == table.ranges.end() || quantiser == plan.quantisers.end()) return;
  TensorRange& r = range->second;
  const TensorQuantization chosen = choose_by_output(graph, readers, quantiser->second, r.min, r.max, gram);
  if (chosen == quantiser->second) return;
  (chosen.type == DType::u8 ? r.unsigned_scale : r.scale) = chosen.scale;
  if (chosen.type == DType::u8) r.unsigned_zero = static_cast<int32_t>(chosen.zero);
}

/// First node of the layers from index `at` on, in whatever order they are; the end of the graph when there is none.
int32_t first_node(const Graph& graph, const std::vector<LayerRows>& layers, size_t at) {
  auto node = static_cast<int32_t>(graph.nodes.size());
  for (; at < layers.size(); ++at) node = std::min(node, layers[at].product->node);
  return node;
}

std::set<int32_t> nodes_of(const std::vector<LayerRows>& layers) {
  std::set<int32_t> nodes;
  for (const LayerRows& layer : layers) nodes.insert(layer.product->node);
  return nodes;
}

/// The layers that weights are adapted in or ranges are chosen by, with the rows that all who look at them want.
std::vector<LayerRows> all_layers(const Graph& graph, const PlacementPlan& plan, double work, int64_t row_bytes) {
  std::vector<LayerRows> layers = choose_layers(graph, plan, work);
  const std::set<int32_t> chosen = nodes_of(layers);
  for (const LayerRows& layer : readers_of(graph, plan, work))
    if (!chosen.contains(layer.product->node)) layers.push_back(layer);
  std::ranges::stable_sort(layers, {}, [](const LayerRows& layer) { return layer.product->node; });
  limit_rows(layers, row_bytes, work);
  return layers;
}

}  // namespace

AdaptationEffort adaptation_effort(const PlacementPlan& plan, double work) {
  const bool patient = work > CalibrationOptions().adapt_work;
  if (plan.products.size() <= kManyLayers || patient) return {kSamples, work};
  return {kSamplesOfLarge, kWorkOfLarge * work};
}

std::vector<LayerRows> layers_in_one_look(const Graph& graph, const PlacementPlan& plan, double work,
                                          int64_t row_bytes) {
  std::vector<LayerRows> layers = all_layers(graph, plan, work, row_bytes);
  if (fitting_layers(layers, 0, row_bytes) < layers.size()) layers.clear();
  return layers;
}

Result<RowsByNode> refine_ranges(const Graph& graph, const PlacementPlan& plan, const KeptSamples& samples,
                                 const AdaptiveOptions& options, RowsByNode seen, CalibrationTable& table) {
  if (samples.batches() == 0) return RowsByNode{};
  const ThreadsInScope threads(threads_or_all(options.threads));
  const std::vector<LayerRows> layers = readers_of(graph, plan, options.work);
  const auto saw_all = [&] {
    return std::ranges::all_of(layers, [&](const LayerRows& layer) { return seen.contains(layer.product->node); });
  };
  const GramFunction gram = packed_gram(options.threads);
  LayerWalk walk(graph, samples, options.threads, options.profile, options.network);
  if (!saw_all())
    if (const auto all = layers_in_one_look(graph, plan, options.work, options.row_bytes); !all.empty())
      seen = PLANISH_TRY(walk.look(graph, all, static_cast<int32_t>(graph.nodes.size())));
  const bool all_seen = saw_all();
  for (size_t first = 0, end = 0; first < layers.size(); first = end) {
    end = all_seen ? layers.size() : fitting_layers(layers, first, options.row_bytes);
    const std::vector<LayerRows> next(layers.begin() + static_cast<ptrdiff_t>(first),
                                      layers.begin() + static_cast<ptrdiff_t>(end));
    if (!all_seen) seen = PLANISH_TRY(walk.look(graph, next, first_node(graph, layers, end)));
    for (size_t i = 0, behind = 0; i < next.size(); i = behind) {
      if (options.progress) options.progress("ranges", first + i, layers.size());
      std::vector<TensorReader> readers;
      const ValueId tensor = next[i].product->input;
      for (behind = i; behind < next.size() && next[behind].product->input == tensor; ++behind)
        readers.push_back({next[behind].product, &seen.at(next[behind].product->node)});
      refine_range(graph, plan, tensor, readers, gram, table);
    }
  }
  if (options.progress) options.progress("ranges", layers.size(), layers.size());
  if (!all_seen) seen.clear();
  return seen;
}

Result<std::set<int32_t>> adapt_weights(const Graph& graph, const PlacementPlan& plan, const KeptSamples& samples,
                                        const AdaptiveOptions& options, const std::map<int32_t, WeightLimit>& limits,
                                        RowsByNode in_float, std::map<int32_t, QuantisedWeights>& weights) {
  std::set<int32_t> done;
  if (samples.batches() == 0) return done;
  const ThreadsInScope threads(threads_or_all(options.threads));
  const std::set<int32_t> chosen = nodes_of(choose_layers(graph, plan, options.work));
  std::vector<LayerRows> adapted = all_layers(graph, plan, options.work, options.row_bytes);
  std::erase_if(adapted, [&](const LayerRows& layer) { return !chosen.contains(layer.product->node); });
  const auto stages = stages_of(adapted);
  const GramFunction gram = packed_gram(options.threads);
  std::vector<LayerRows> layers;
  for (const auto& stage : stages) layers.insert(layers.end(), stage.begin(), stage.end());
  LayerWalk float_walk(graph, samples, options.threads, options.profile);
  LayerWalk quantised_walk(graph, samples, options.threads, options.profile);
  size_t first = 0;  // of the stage, in `layers`
  for (size_t s = 0; s < stages.size(); first += stages[s++].size()) {
    if (options.progress) options.progress("rounding", s, stages.size());
    if (!std::ranges::all_of(stages[s], [&](const LayerRows& l) { return in_float.contains(l.product->node); })) {
      const size_t end = whole_stages(stages, s, first, fitting_layers(layers, first, options.row_bytes));
      const std::vector<LayerRows> next(layers.begin() + static_cast<ptrdiff_t>(first),
                                        layers.begin() + static_cast<ptrdiff_t>(end));
      in_float = PLANISH_TRY(float_walk.look(graph, next, first_node(graph, layers, end)));
    }
    const int32_t here = stages[s].front().product->node;
    Graph behind = PLANISH_TRY(place_qdq(graph, plan_between(plan, quantised_walk.begin(), here), weights));
    const Quantisers bytes = read_as_bytes(graph, plan, here);
    RowsByNode quantised = PLANISH_TRY(quantised_walk.look(std::move(behind), stages[s], here, bytes));
    for (const LayerRows& layer : stages[s]) {
      const int32_t node = layer.product->node;
      const auto quantiser = plan.quantisers.find(layer.product->input);
      if (quantiser == plan.quantisers.end() || !in_float.contains(node)) continue;
      InputRows& rows = quantised.at(node);
      if (!bytes.contains(graph.value(layer.product->input).name)) round_to_steps(rows.values(), quantiser->second);
      auto made = reconstruct_weights(graph, *layer.product, in_float.at(node), rows, limits.at(node), gram);
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
