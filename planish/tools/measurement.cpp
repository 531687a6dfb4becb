#include "planish/tools/measurement.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>

#include "planish/tools/console.h"
#include "planish/tools/trtexec/input_files.h"
#include "planish/tools/trtexec/text.h"
#include "planish/tools/trtexec/timing_report.h"

namespace planish::tools {
namespace {

using SteadyClock = std::chrono::steady_clock;

double now_ms() { return std::chrono::duration<double, std::milli>(SteadyClock::now().time_since_epoch()).count(); }

Tensor random_tensor(const api::TensorInfo& info, const Dims& dims, uint64_t seed) {
  Tensor tensor(info.dtype, dims);
  if (dtype_is_float(info.dtype)) {
    const auto bytes = random_values({.name = info.name, .dtype = info.dtype}, dims, seed);
    std::memcpy(tensor.raw(), bytes.data(), bytes.size());
    return tensor;
  }
  const auto bits = random_values({.name = info.name, .dtype = DType::boolean}, dims, seed);
  for (int64_t i = 0; i < tensor.size(); ++i)
    tensor.set(i, info.holds_shape ? 1.0 : static_cast<double>(bits[static_cast<size_t>(i)] != std::byte{0}));
  return tensor;
}

Result<Dims> run_shape(const api::Engine& engine, const api::TensorInfo& info, const ShapeList& given) {
  if (const Dims* dims = find_shape(given, info.name)) return *dims;
  if (!engine.profiles().empty())
    if (const auto it = engine.profiles()[0].find(info.name); it != engine.profiles()[0].end()) return it->second.opt;
  if (std::all_of(info.dims.begin(), info.dims.end(), [](int64_t d) { return d >= 0; })) return info.dims;
  return Error{.code = Code::shape_mismatch,
               .tensor = info.name,
               .what = fmt::format("its shape {} is not known", tuple_text(info.dims)),
               .fix = "add --shapes=" + info.name + ":DIMS"};
}

Status check_names(const api::Engine& engine, const ShapeList& given) {
  std::vector<std::string> names;
  for (const api::TensorInfo& info : engine.inputs()) names.push_back(info.name);
  for (const auto& [pattern, dims] : given) {
    const bool known = std::any_of(names.begin(), names.end(),
                                   [&wanted = pattern](const std::string& n) { return wildcard_matches(wanted, n); });
    if (!known)
      return Error{.code = Code::invalid_argument,
                   .file = "--shapes",
                   .what = fmt::format("there is no input '{}'", pattern),
                   .fix = fmt::format("the inputs are {}", fmt::join(names, ", "))};
  }
  return {};
}

/// One stream: warms up, then runs until time and iterations are used up.
Status run_stream(api::ExecutionContext& context, const LatencyOptions& options, std::vector<double>& latencies_ms,
                  double& first_ms, double& last_ms) {
  const double warm_until = now_ms() + options.warm_up_ms;
  do PLANISH_TRY(context.run());
  while (now_ms() < warm_until);
  first_ms = now_ms();
  const double end = first_ms + options.duration_s * 1000;
  for (int64_t i = 0; i < options.iterations || now_ms() < end; ++i) {
    const double start = now_ms();
    PLANISH_TRY(context.run());
    last_ms = now_ms();
    latencies_ms.push_back(last_ms - start);
  }
  return {};
}

double median_of(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  return median(samples);
}

/// What one engine's rounds gave.
struct Rounds {
  std::unique_ptr<api::ExecutionContext> context;
  std::vector<std::vector<double>> layer_ms;  ///< by layer
  std::vector<double> run_ms;

  Status round() {
    const double start = now_ms();
    PLANISH_TRY(context->run());
    run_ms.push_back(now_ms() - start);
    std::vector<double> times;
    PLANISH_TRY(context->run_profiled(times));
    layer_ms.resize(std::max(layer_ms.size(), times.size()));
    for (size_t i = 0; i < times.size(); ++i) layer_ms[i].push_back(times[i]);
    return {};
  }
};

}  // namespace

Result<InputTensors> random_inputs(const api::Engine& engine, const std::string& shapes, uint64_t seed) {
  const ShapeList given = PLANISH_TRY(parse_shapes(shapes, "--shapes"));
  PLANISH_TRY(check_names(engine, given));
  InputTensors inputs;
  for (const api::TensorInfo& info : engine.inputs()) {
    const Dims dims = PLANISH_TRY(run_shape(engine, info, given));
    inputs.emplace_back(info.name, random_tensor(info, dims, seed));
  }
  return inputs;
}

Status bind(api::ExecutionContext& context, const InputTensors& inputs) {
  for (const auto& [name, tensor] : inputs)
    PLANISH_TRY(context.set_input(name, tensor.shape(), {static_cast<const std::byte*>(tensor.raw()), tensor.bytes()}));
  return {};
}

Result<Latency> measure_latency(const api::Engine& engine, const InputTensors& inputs, const LatencyOptions& options) {
  const auto streams = static_cast<size_t>(std::max<int64_t>(options.streams, 1));
  const int64_t threads = options.threads > 0 ? options.threads : api::cpu_device().cores;
  Latency result;
  result.threads_per_stream = std::max<int64_t>(threads / static_cast<int64_t>(streams), 1);
  std::vector<std::unique_ptr<api::ExecutionContext>> contexts;
  for (size_t s = 0; s < streams; ++s) {
    contexts.push_back(PLANISH_TRY(engine.create_context(0, static_cast<int>(result.threads_per_stream))));
    PLANISH_TRY(bind(*contexts.back(), inputs));
    if (options.pin) contexts.back()->pin(static_cast<int>(s) * static_cast<int>(result.threads_per_stream));
  }
  std::vector<std::vector<double>> latencies(streams);
  std::vector<double> first(streams), last(streams);
  std::vector<Status> statuses(streams);
  const auto work = [&](size_t s) { statuses[s] = run_stream(*contexts[s], options, latencies[s], first[s], last[s]); };
  std::vector<std::thread> helpers;
  for (size_t s = 1; s < streams; ++s) helpers.emplace_back(work, s);
  work(0);
  for (std::thread& helper : helpers) helper.join();
  for (size_t s = 0; s < streams; ++s) {
    PLANISH_TRY(std::move(statuses[s]));
    result.latencies_ms.insert(result.latencies_ms.end(), latencies[s].begin(), latencies[s].end());
  }
  result.wall_ms = *std::max_element(last.begin(), last.end()) - *std::min_element(first.begin(), first.end());
  return result;
}

Result<std::vector<LayerProfile>> profile_layers(const std::vector<const api::Engine*>& engines,
                                                 const std::vector<InputTensors>& inputs, int64_t rounds,
                                                 int64_t threads) {
  constexpr int kWarmUpRuns = 3;
  std::vector<Rounds> measured(engines.size());
  for (size_t e = 0; e < engines.size(); ++e) {
    measured[e].context = PLANISH_TRY(engines[e]->create_context(0, static_cast<int>(threads)));
    PLANISH_TRY(bind(*measured[e].context, inputs[e]));
    for (int i = 0; i < kWarmUpRuns; ++i) PLANISH_TRY(measured[e].context->run());
  }
  for (int64_t i = 0; i < rounds; ++i)
    for (Rounds& engine : measured) PLANISH_TRY(engine.round());
  std::vector<LayerProfile> profiles;
  for (Rounds& engine : measured) {
    LayerProfile profile;
    profile.layers = PLANISH_TRY(engine.context->layers());
    for (const auto& samples : engine.layer_ms) profile.layer_ms.push_back(median_of(samples));
    profile.layer_ms.resize(profile.layers.size());
    profile.run_ms = median_of(engine.run_ms);
    profiles.push_back(std::move(profile));
  }
  return profiles;
}

}  // namespace planish::tools
