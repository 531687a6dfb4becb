#pragma once

#include <string>
#include <vector>

#include "planish/tools/trtexec/options.h"
#include "planish/tools/trtexec/session.h"

namespace planish::tools {

/// Why a DLA (NVIDIA's deep-learning accelerator) could not run the layer; "" when it could. The rules are those of
/// TensorRT's "Working with DLA": FP16 or INT8, static shapes, rank 4, limits on windows, strides and channels.
std::string dla_refusal(const LayerRecord& layer);

/// What a simulated DLA partition says: lines for the log, and the device of every layer written into `layers`.
struct DlaPartition {
  std::vector<std::string> refusals;  ///< one line per layer that falls back
  std::vector<std::string> summary;   ///< layers, time and bytes per device, number of transitions
};

/// Puts every layer on the simulated DLA that its rules, and --layerDeviceTypes, allow there, the others on the CPU.
/// Without `use_dla` only layers that --layerDeviceTypes sends there are looked at.
DlaPartition partition_for_dla(std::vector<LayerRecord>& layers, bool use_dla, const PairList& layer_devices);

}  // namespace planish::tools
