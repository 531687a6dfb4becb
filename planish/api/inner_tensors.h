#pragma once

#include <map>
#include <set>
#include <string>

#include "planish/api/kept_samples.h"
#include "planish/api/quantize.h"
#include "planish/ir/graph.h"

namespace planish::api {

using RangesByName = std::map<std::string, TensorRange>;

/// A range for every f32 tensor of the network as it was imported that is not `known`, because fusing removes it or
/// nothing here would quantise it: a TensorRT that the cache is taken to keeps the layers around a tensor without a
/// scale in float. Largest values over a few of the samples, run without fusing on `threads`. Errors: the network
/// cannot be built or run so.
Result<RangesByName> inner_ranges(const Graph& graph, const KeptSamples& samples, int threads,
                                  const ProfileRanges& profile, const std::set<std::string>& known);

/// Adds ranges to the table, whose order becomes the graph's.
void add_ranges(const Graph& graph, RangesByName ranges, CalibrationTable& table);

}  // namespace planish::api
