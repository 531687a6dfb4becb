#include "planish/api/inner_tensors.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "planish/api/observed_network.h"
#include "planish/ops/infer_graph.h"

namespace planish::api {
namespace {

/// Largest values need fewer samples than distributions.
constexpr size_t kSamples = 4;
/// Of tensors that one look keeps, for each worker: as outputs all of them are in memory at the same time.
constexpr size_t kBytesOfLook = size_t{128} << 20;

struct Extent {
  float min = INFINITY;
  float max = -INFINITY;
  /// NaN and infinity count as zero.
  void add(const float* x, int64_t n) {
    constexpr size_t kAtOnce = 16;
    std::array<float, kAtOnce> low;
    std::array<float, kAtOnce> high;
    low.fill(INFINITY);
    high.fill(-INFINITY);
    const auto take = [&](const float* from, size_t count) {
      for (size_t k = 0; k < count; ++k) {
        const float finite = std::abs(from[k]) <= std::numeric_limits<float>::max() ? from[k] : 0.0F;
        low[k] = finite < low[k] ? finite : low[k];
        high[k] = finite > high[k] ? finite : high[k];
      }
    };
    int64_t i = 0;
    for (; i + static_cast<int64_t>(kAtOnce) <= n; i += kAtOnce) take(x + i, kAtOnce);
    take(x + i, static_cast<size_t>(n - i));
    min = std::min(min, *std::ranges::min_element(low));
    max = std::max(max, *std::ranges::max_element(high));
  }
};
using Extents = std::map<std::string, Extent, std::less<>>;

/// Batches spread over the samples that there are.
std::vector<CalibrationBatch> few_of(const KeptSamples& samples) {
  std::vector<CalibrationBatch> few;
  int64_t rows = 0;
  const size_t step = std::max<size_t>(1, samples.batches() / kSamples);
  for (size_t i = 0; i < samples.batches() && rows < static_cast<int64_t>(kSamples); i += step) {
    few.push_back(samples.batch(i));
    rows += std::max<int64_t>(1, few.back().samples);
  }
  return few;
}

/// Tensors without a range, in sets that fit into memory.
Result<std::vector<std::set<std::string>>> looks(const Graph& graph, const CalibrationBatch& batch,
                                                 const std::set<std::string>& known) {
  std::vector<std::optional<Shape>> shapes;
  for (const ValueId v : graph.inputs) {
    const auto given = std::ranges::find(batch.inputs, graph.value(v).name, &std::pair<std::string, HostTensor>::first);
    shapes.push_back(given == batch.inputs.end() ? std::nullopt : std::optional(given->second.dims));
  }
  const ShapeFacts facts = PLANISH_TRY(infer_shapes(graph, shapes));
  std::vector<std::set<std::string>> sets;
  size_t bytes = 0;
  for (const Node& node : graph.nodes)
    for (const ValueId v : node.outputs) {
      if (v == kNoValue || known.contains(graph.value(v).name)) continue;
      const auto k = static_cast<size_t>(v);
      if (facts.dtypes[k] != DType::f32 || facts.values[k]) continue;
      const bool sized = facts.shapes[k] && is_static(*facts.shapes[k]);
      const size_t more = sized ? dtype_bytes(DType::f32, element_count(*facts.shapes[k])) : 0;
      if (sets.empty() || bytes + more > kBytesOfLook) {
        sets.emplace_back();
        bytes = 0;
      }
      bytes += more;
      sets.back().insert(graph.value(v).name);
    }
  return sets;
}

void sort_by_graph(const Graph& graph, CalibrationTable& table) {
  std::vector<std::string> order;
  std::set<std::string_view> known;
  const auto add = [&](const std::string& name) {
    if (table.ranges.contains(name) && known.insert(table.ranges.find(name)->first).second) order.push_back(name);
  };
  for (const ValueId v : graph.inputs) add(graph.value(v).name);
  for (const Node& node : graph.nodes)
    for (const ValueId v : node.outputs)
      if (v != kNoValue) add(graph.value(v).name);
  for (const std::string& name : table.order) add(name);  // of tensors that importing made
  table.order = std::move(order);
}

}  // namespace

Result<RangesByName> inner_ranges(const Graph& graph, const KeptSamples& samples, int threads,
                                  const ProfileRanges& profile, const std::set<std::string>& known) {
  RangesByName ranges;
  const std::vector<CalibrationBatch> batches = few_of(samples);
  if (batches.empty()) return ranges;
  for (const std::set<std::string>& names : PLANISH_TRY(looks(graph, batches.front(), known))) {
    ObservedNetwork network(graph, names, threads, profile, 0);
    std::vector<Extents> seen(static_cast<size_t>(network.most_workers()));
    PLANISH_TRY(
        network.run(batches, [&](const Piece& piece, std::string_view name, const TensorDesc& desc, const void* data) {
          const auto it = desc.dtype == DType::f32 ? names.find(std::string(name)) : names.end();
          if (it == names.end()) return;
          seen[static_cast<size_t>(piece.worker)][*it].add(static_cast<const float*>(data),
                                                           static_cast<int64_t>(desc.bytes() / sizeof(float)));
        }));
    Extents all;
    for (const Extents& of_worker : seen)
      for (const auto& [name, e] : of_worker) {
        Extent& extent = all[name];
        extent.min = std::min(extent.min, e.min);
        extent.max = std::max(extent.max, e.max);
      }
    for (const auto& [name, e] : all) {
      const float largest = std::max(std::abs(e.min), std::abs(e.max));
      if (e.min > e.max) continue;
      // As for the others, a tensor of zeros gets one step of a size that does no harm.
      ranges[name] = {.scale = largest > 0 ? std::max(largest / 127, 1e-30F) : 1.0F / 127, .min = e.min, .max = e.max};
    }
  }
  return ranges;
}

void add_ranges(const Graph& graph, RangesByName ranges, CalibrationTable& table) {
  for (auto& [name, range] : ranges) table.ranges[name] = std::move(range);
  sort_by_graph(graph, table);
}

}  // namespace planish::api
