#pragma once

#include <string>
#include <vector>

#include "planish/api/engine.h"

namespace planish::api {

/// Layers with their times in ms: measured, the median over the rounds, or the builder's.
struct LayerProfile {
  std::vector<LayerInfo> layers;
  std::vector<double> layer_ms;
  double run_ms = 0;  ///< median of a whole run without the profiler
};

/// Layers with the builder's times.
LayerProfile tuned_profile(std::vector<LayerInfo> layers);

/// Layers of two engines that compute the same ONNX nodes. Fusions differ between engines, so a group holds the
/// smallest sets of layers whose nodes coincide.
struct LayerGroup {
  std::vector<std::string> onnx_nodes;  ///< in the order of execution; empty for layers that the builder added
  std::vector<size_t> first;            ///< layers of the first engine, by position
  std::vector<size_t> second;
  double first_ms = 0;
  double second_ms = 0;
  [[nodiscard]] double delta_ms() const { return second_ms - first_ms; }
};

/// Groups in the order of the first engine, then what only the second one has. Layers without ONNX nodes (layout
/// changes) form one group at the end.
std::vector<LayerGroup> join_layers(const LayerProfile& first, const LayerProfile& second);

}  // namespace planish::api
