#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "planish/api/data.h"
#include "planish/api/engine.h"
#include "planish/api/layer_join.h"
#include "planish/base/status.h"

namespace planish::tools {

/// Inputs of a run, by name. They must outlive the runs that use them.
using InputTensors = NamedTensors;

/// Values for every input: floats in [-1, 1], integers and booleans 0 or 1 (token and mask inputs stay in range), 1 for
/// inputs that hold shapes; the same on every machine. Shapes: `shapes` ("name:1x3x224x224,..."), else what profile 0
/// is tuned for. Errors name the input.
Result<InputTensors> random_inputs(const api::Engine& engine, const std::string& shapes, uint64_t seed);

/// Hands the inputs to a context.
Status bind(api::ExecutionContext& context, const InputTensors& inputs);

struct LatencyOptions {
  int64_t iterations = 10;  ///< at least this many queries per stream
  double warm_up_ms = 200;  ///< before timing
  double duration_s = 3;    ///< at least this long
  int64_t streams = 1;      ///< contexts that run at the same time
  int64_t threads = 0;      ///< of all streams together; 0: all cores
  bool pin = false;         ///< every thread on a core of its own
};

struct Latency {
  std::vector<double> latencies_ms;  ///< of every timed query
  double wall_ms = 0;                ///< from the first query's start to the last one's end
  int64_t threads_per_stream = 1;
};

/// Runs the engine over and over. Each stream has its own context and thread.
Result<Latency> measure_latency(const api::Engine& engine, const InputTensors& inputs, const LatencyOptions& options);

using api::LayerProfile;

/// Profiles engines in turns, so that what disturbs the machine disturbs all of them. `inputs` is parallel to
/// `engines`.
Result<std::vector<LayerProfile>> profile_layers(const std::vector<const api::Engine*>& engines,
                                                 const std::vector<InputTensors>& inputs, int64_t rounds,
                                                 int64_t threads);

}  // namespace planish::tools
