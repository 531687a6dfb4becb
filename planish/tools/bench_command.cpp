#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "planish/base/atomic_file.h"
#include "planish/tools/command_line.h"
#include "planish/tools/console.h"
#include "planish/tools/measurement.h"
#include "planish/tools/open_engine.h"
#include "planish/tools/planish_commands.h"
#include "planish/tools/trtexec/timing_report.h"

namespace planish::tools {
namespace {

constexpr double kPercents[] = {90, 95, 99};

struct BenchCommand {
  std::string path;
  std::string json_path;
  LatencyOptions options;
  BuildArguments build;
  CommandLine line;

  BenchCommand()
      : line("bench", "Times an engine with random input: latency percentiles and throughput.",
             "  planish bench resnet50.engine --shapes=input:1x3x224x224 --duration=10 --json=latency.json\n"
             "  planish bench resnet50.engine --streams=2    # two queries at a time on half the cores each") {
    line.positional("ENGINE|MODEL", path, "Engine file, or ONNX model to build one from");
    line.integer("--iterations", options.iterations, 1, int64_t{1} << 40,
                 "Run at least this many queries (default 10)");
    line.number("--warmUp", options.warm_up_ms, 0, 1e9, "MS", "Run this long before timing (default 200)");
    line.number("--duration", options.duration_s, 0, 1e7, "S", "Time at least this long (default 3)");
    line.integer("--streams", options.streams, 1, 1024, "Queries at the same time (default 1)");
    line.flag("--pin", options.pin, "Keep every thread on a core of its own");
    line.output("--json", json_path, "FILE", "Write the figures and every latency");
    build.declare_common(line);
  }
};

/// Rows of the leading dimension, when every input has the same: pictures or sequences per query.
int64_t batch_of(const InputTensors& inputs) {
  int64_t batch = 0;
  for (const auto& [name, tensor] : inputs) {
    const int64_t rows = tensor.rank() > 0 ? tensor.dim(0) : 1;
    if (batch != 0 && rows != batch) return 1;
    batch = rows;
  }
  return std::max<int64_t>(batch, 1);
}

Status bench(const BenchCommand& command) {
  const api::Engine engine = PLANISH_TRY(open_engine("bench", command.path, command.build));
  const InputTensors inputs = PLANISH_TRY(random_inputs(engine, command.build.shapes, 1));
  LatencyOptions options = command.options;
  options.threads = command.build.threads;
  const Latency latency = PLANISH_TRY(measure_latency(engine, inputs, options));
  const TimeStatistics s = time_statistics(latency.latencies_ms, kPercents);
  const double queries_per_s =
      static_cast<double>(latency.latencies_ms.size()) / std::max(latency.wall_ms, 1e-9) * 1000;
  const int64_t batch = batch_of(inputs);

  fmt::print("{}: {} queries in {:.2f} s, {} at a time on {} threads each\n", command.path, latency.latencies_ms.size(),
             latency.wall_ms / 1000, options.streams, latency.threads_per_stream);
  for (const auto& [name, tensor] : inputs) fmt::print("  input {}: {}\n", name, extents_text(tensor.shape()));
  fmt::print(
      "Latency: min {:.4f} ms, mean {:.4f} ms, median {:.4f} ms, p90 {:.4f} ms, p95 {:.4f} ms, p99 {:.4f} ms, "
      "max {:.4f} ms\n",
      s.min, s.mean, s.median, s.percentiles[0], s.percentiles[1], s.percentiles[2], s.max);
  fmt::print("Throughput: {:.2f} queries/s{}\n", queries_per_s,
             batch > 1
                 ? fmt::format(", {:.2f} items/s in batches of {}", queries_per_s * static_cast<double>(batch), batch)
                 : "");
  if (command.json_path.empty()) return {};
  nlohmann::ordered_json json;
  json["engine"] = command.path;
  json["device"] = api::cpu_device().name;
  json["streams"] = options.streams;
  json["threads_per_stream"] = latency.threads_per_stream;
  json["batch"] = batch;
  for (const auto& [name, tensor] : inputs) json["shapes"][name] = tensor.shape();
  json["latency_ms"] = {{"min", s.min},
                        {"mean", s.mean},
                        {"median", s.median},
                        {"p90", s.percentiles[0]},
                        {"p95", s.percentiles[1]},
                        {"p99", s.percentiles[2]},
                        {"max", s.max}};
  json["queries_per_second"] = queries_per_s;
  json["latencies_ms"] = latency.latencies_ms;
  return write_file_atomically(command.json_path,
                               json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

}  // namespace

int bench_main(int argc, char** argv) {
  BenchCommand command;
  if (const auto code = command.line.parse(argc, argv)) return *code;
  const Status status = bench(command);
  return status.ok() ? 0 : fail("bench", status.error());
}

std::vector<std::string> bench_words() { return BenchCommand().line.words(); }

}  // namespace planish::tools
