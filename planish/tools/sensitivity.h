#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "planish/api/data.h"
#include "planish/api/quantize.h"
#include "planish/base/status.h"
#include "planish/tools/judge.h"
#include "planish/tools/trial.h"

namespace planish::tools {

/// What INT8 in one ONNX node does to a network.
struct NodeSensitivity {
  std::string node;
  double output_error = 0;             ///< relative L2 of the outputs when this node alone is in INT8
  std::optional<double> input_snr_db;  ///< signal to quantisation noise of the tensor it reads
  std::optional<double> metric_drop;   ///< of the judged number, this node alone in INT8
  double float_ms = 0;                 ///< the builder's times of the layers that compute it
  double int8_ms = 0;
  [[nodiscard]] double saved_ms() const { return float_ms - int8_ms; }
};

/// The nodes that quantize() would put into INT8 with these options, in the order of the network, and why others are
/// not.
struct QuantisableNodes {
  std::vector<std::string> nodes;
  std::vector<api::FloatNode> float_nodes;
};
Result<QuantisableNodes> quantisable_nodes(const api::Model& model, const api::CalibrationTable& table,
                                           const api::QuantizeOptions& options);

/// Error for a model with QuantizeLinear or the like, which nothing is left to quantise in; `dynamic_fix`: the remedy
/// for what quantize_dynamic made.
Status refuse_quantised(const api::Model& model, const std::string& path, const std::string& dynamic_fix);

/// The first batches that hold `samples` samples together, copied.
Result<std::vector<NamedTensors>> first_batches(api::CalibrationSource& source, int64_t samples);

using Deadline = std::chrono::steady_clock::time_point;
using ProgressFunction = std::function<void(std::string_view stage, int64_t done, int64_t total)>;

/// Output error of every node, measured on `samples`: one engine per node, built without timing. Stops at the deadline;
/// nodes that were not reached are left out.
Result<std::vector<NodeSensitivity>> measure_sensitivity(Trials& trials, const api::CalibrationTable& table,
                                                         const api::QuantizeOptions& options,
                                                         const std::vector<std::string>& nodes,
                                                         const std::vector<NamedTensors>& samples, Deadline deadline,
                                                         const ProgressFunction& progress);

/// Fills in the times from two engines of the network that were tuned.
Status add_times(const api::Engine& in_float, const api::Engine& in_int8, std::vector<NodeSensitivity>& nodes);

/// Signal to noise in dB when values of this histogram are rounded to `scale` and clipped at 127 of it; nullopt for an
/// empty histogram.
std::optional<double> quantisation_snr_db(const api::RangeHistogram& histogram, double scale, int32_t steps = 127);

/// "node1:fp32,node2:fp32" for --layerPrecisions.
std::string layer_precisions_text(const std::vector<std::string>& nodes);

/// All of `nodes` but those in `chosen`.
std::vector<std::string> all_but(const std::vector<std::string>& nodes, const std::vector<std::string>& chosen);

}  // namespace planish::tools
