#pragma once

// What calibrate() and quantize() decide alike: which numbers tensors and weights get. For the files of api/ alone.

#include <map>

#include "planish/api/quantize.h"
#include "planish/quant/equalization.h"
#include "planish/quant/placement.h"
#include "planish/quant/weights.h"

namespace planish::api {

/// Sets what is left open in `options` to what an INT8 build on this machine does.
void set_build_defaults(QuantizeOptions& options);

/// `table` must outlive the result.
PlacementOptions placement_options(const CalibrationTable& table, const QuantizeOptions& options);

/// How large every product's weights may be.
std::map<int32_t, WeightLimit> weight_limits(const Graph& graph, const PlacementPlan& plan,
                                             const QuantizeOptions& options);

/// Weights rounded to nearest with corrected biases, by node.
std::map<int32_t, QuantisedWeights> nearest_weights(const Graph& graph, const PlacementPlan& plan,
                                                    const CalibrationTable& table, const QuantizeOptions& options);

/// Largest magnitudes of channels as the table knows them; it must outlive the result.
ChannelMaxima channel_maxima_of(const CalibrationTable& table);

/// The key of a product in CalibrationTable::adapted_weights.
std::string adapted_name(const Graph& graph, const QuantisedProduct& product);
AdaptedWeights to_adapted(const PlacementPlan& plan, const QuantisedProduct& product, const QuantisedWeights& weights,
                          const WeightLimit& limit);

/// Takes over the weights in `table` that were made for the same numbers; returns how many were made for others.
int64_t use_adapted(const Graph& graph, const PlacementPlan& plan, const CalibrationTable& table,
                    const std::map<int32_t, WeightLimit>& limits, std::map<int32_t, QuantisedWeights>& weights);

}  // namespace planish::api
