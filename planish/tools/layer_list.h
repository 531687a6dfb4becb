#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "planish/api/engine.h"
#include "planish/base/status.h"
#include "planish/tools/console.h"

namespace planish::tools {

/// Times of one layer in ms; by default the builder's.
using LayerTimes = std::vector<double>;

/// The builder's times of the layers.
LayerTimes tuned_times(const std::vector<api::LayerInfo>& layers);

/// One row per layer: name, tactic, precision, shapes, bytes, time and share, ONNX nodes.
Table layer_table(const std::vector<api::LayerInfo>& layers, const LayerTimes& times_ms);

/// The `count` layers that take longest, slowest first, with their share of the whole.
std::string slowest_layers_text(const std::vector<api::LayerInfo>& layers, const LayerTimes& times_ms, size_t count);

/// Share of the time that goes into changing layouts, 0 to 1.
double reformat_share(const std::vector<api::LayerInfo>& layers, const LayerTimes& times_ms);

/// The layers as a JSON array of objects.
std::string layers_json(const std::vector<api::LayerInfo>& layers, const LayerTimes& times_ms);

/// The ONNX nodes of a layer in one line: at most `shown` of them.
std::string onnx_nodes_text(const std::vector<std::string>& nodes, size_t shown = 3);

}  // namespace planish::tools
