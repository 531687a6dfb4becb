#pragma once

#include "planish/api/kept_samples.h"
#include "planish/api/quantize.h"
#include "planish/ir/graph.h"

namespace planish::api {

/// Adds to the table a range for every f32 tensor of the network as it was imported that has none yet, because fusing
/// removes it or nothing here would quantise it: a TensorRT that the cache is taken to keeps the layers around a tensor
/// without a scale in float. Largest values over a few of the samples, run without fusing; the table's order becomes
/// the graph's. Errors: the network cannot be built or run so.
Status add_inner_tensors(const Graph& graph, const KeptSamples& samples, int threads, const ProfileRanges& profile,
                         CalibrationTable& table);

}  // namespace planish::api
