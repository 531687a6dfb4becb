#pragma once

#include <functional>
#include <map>
#include <string_view>

#include "planish/api/quantize.h"
#include "planish/quant/weights.h"

namespace planish::api {

/// Bytes that the second moments of all layers may take together: on request, and where nobody asked (small networks
/// whose weights then cost seconds at most).
inline constexpr int64_t kMomentBytes = int64_t{600} << 20;
inline constexpr int64_t kSmallMomentBytes = int64_t{48} << 20;

using RoundingProgress = std::function<void(std::string_view stage, size_t done, size_t total)>;

/// Rounds the weights of the layers that adaptive rounding handles by what their inputs look like on up to 64 samples
/// of `source`; layers beyond `moment_bytes` stay as they are.
Status adapt_rounding(const Graph& graph, const PlacementPlan& plan, CalibrationSource& source,
                      const RoundingProgress& progress, int64_t moment_bytes,
                      std::map<int32_t, QuantisedWeights>& weights);

}  // namespace planish::api
