#include "planish/api/adaptive_weights.h"

#include <algorithm>
#include <set>

#include "planish/api/observed_network.h"
#include "planish/quant/adaptive_rounding.h"

namespace planish::api {
namespace {

/// Samples that adaptive rounding looks at and positions of each.
constexpr int64_t kRoundingSamples = 64;
constexpr int64_t kRoundingPositions = 48;

}  // namespace

Status adapt_rounding(const Graph& graph, const PlacementPlan& plan, CalibrationSource& source,
                      const RoundingProgress& progress, int64_t moment_bytes,
                      std::map<int32_t, QuantisedWeights>& weights) {
  std::map<int32_t, InputMoments> moments;
  std::multimap<std::string, int32_t, std::less<>> readers;
  int64_t bytes = 0;
  for (const QuantisedProduct& p : plan.products) {
    if (!InputMoments::possible(graph, p)) continue;
    const Shape& w = graph.constant_of(p.weights)->shape();
    const int64_t k = element_count(w) / w[static_cast<size_t>(p.channel_axis)];
    bytes += k * k * static_cast<int64_t>(sizeof(float));
    if (bytes > moment_bytes) break;
    moments.emplace(p.node, InputMoments(graph, p));
    readers.emplace(graph.value(p.input).name, p.node);
  }
  std::set<std::string> needed;
  for (const auto& [name, n] : readers) needed.insert(name);
  const auto show = [&](std::string_view name, const TensorDesc& desc, const float* data) {
    const auto [first, last] = readers.equal_range(name);
    for (auto it = first; it != last; ++it)
      moments.at(it->second).add(data, desc.shape, desc.layout, kRoundingPositions);
  };
  PLANISH_TRY(source.rewind());
  ObservedNetwork network(graph, needed, 0, {});
  for (int64_t seen = 0, failed = 0; seen < kRoundingSamples && failed < kRoundingSamples;) {
    const auto batch = source.next();
    if (!batch.ok() && source.fatal()) return batch.error();
    if (batch.ok() && !batch->has_value()) break;
    // Samples that calibration skipped fail here too, and were reported then.
    if (!batch.ok() || !network.run(**batch, show).ok()) {
      ++failed;
      continue;
    }
    seen += std::max<int64_t>(1, (*batch)->samples);
    if (progress) progress("rounding data", static_cast<size_t>(seen), static_cast<size_t>(kRoundingSamples));
  }
  size_t done = 0;
  for (const QuantisedProduct& p : plan.products) {
    const auto it = moments.find(p.node);
    if (it != moments.end()) round_adaptively(graph, p, it->second, weights[p.node]);
    if (progress) progress("rounding", ++done, plan.products.size());
  }
  return {};
}

}  // namespace planish::api
