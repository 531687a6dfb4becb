#pragma once

#include <functional>
#include <map>
#include <set>
#include <string_view>

#include "planish/api/kept_samples.h"
#include "planish/api/layer_rows.h"
#include "planish/api/observed_network.h"
#include "planish/api/quantize.h"
#include "planish/quant/weights.h"

namespace planish::api {

/// How much work adaptive rounding may be on request, in multiplications.
inline constexpr double kPatientWork = 4e12;

using RoundingProgress = std::function<void(std::string_view stage, size_t done, size_t total)>;

struct AdaptiveOptions {
  double work = 0;  ///< layers are taken from the cheapest on while it lasts
  int threads = 0;
  ProfileRanges profile;
  RoundingProgress progress;
  int64_t row_bytes = kRowBytes;       ///< memory for rows of the float network; more looks where it is small
  ObservedNetwork* network = nullptr;  ///< the float network when it is built already; shows what layers read
};

struct AdaptationEffort {
  int64_t samples = 0;  ///< to keep
  double work = 0;      ///< as in AdaptiveOptions
};

/// Of `work`: all, or less for networks of many layers unless it is more than the default.
AdaptationEffort adaptation_effort(const PlacementPlan& plan, double work);

/// What refine_ranges() and adapt_weights() look at in the float network, where all of it fits the memory for rows;
/// else empty.
std::vector<LayerRows> layers_in_one_look(const Graph& graph, const PlacementPlan& plan, double work,
                                          int64_t row_bytes = kRowBytes);

/// Replaces ranges in `table` by those that move the results of the layers reading the tensor least; see
/// choose_by_output(). The number types are those of the plan. `seen`: of layers_in_one_look() in these samples, when
/// that is at hand. Returns what it saw of the float network where adapt_weights() can use it; else nothing.
Result<RowsByNode> refine_ranges(const Graph& graph, const PlacementPlan& plan, const KeptSamples& samples,
                                 const AdaptiveOptions& options, RowsByNode seen, CalibrationTable& table);

/// Replaces `weights` (by node, one entry per product of the plan) by those that reconstruct_weights() finds on the
/// samples, layer after layer: each sees its input as the quantised layers in front of it leave it. `in_float`: from
/// refine_ranges(). Returns the nodes whose weights it made.
Result<std::set<int32_t>> adapt_weights(const Graph& graph, const PlacementPlan& plan, const KeptSamples& samples,
                                        const AdaptiveOptions& options, const std::map<int32_t, WeightLimit>& limits,
                                        RowsByNode in_float, std::map<int32_t, QuantisedWeights>& weights);

}  // namespace planish::api
