#include "planish/tools/trtexec/timing_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "planish/tools/trtexec/json_text.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

constexpr size_t kShownAverages = 200;  // at either end of a long trace

template <typename Part>
std::vector<double> durations(std::span<const QueryTrace> trace, Part part) {
  std::vector<double> out;
  out.reserve(trace.size());
  for (const QueryTrace& query : trace) out.push_back((query.*part)());
  return out;
}

/// Wall time in ms from the first copy in to the last copy out.
double wall_ms(std::span<const QueryTrace> trace) {
  double end = trace.empty() ? 0 : trace.front().end_d2h_ms;
  for (const QueryTrace& query : trace) end = std::max(end, query.end_d2h_ms);
  return trace.empty() ? 0 : end - trace.front().start_h2d_ms;
}

void report_averages(Log& log, std::span<const QueryTrace> timed, int group) {
  const size_t runs = static_cast<size_t>(group);
  const size_t lines = timed.size() / runs;
  log.info("");
  log.info("=== Trace details ===");
  log.info(fmt::format("Trace averages of {} runs:", group));
  for (size_t line = 0; line < lines; ++line) {
    if (lines > 2 * kShownAverages && line == kShownAverages) {
      log.info(fmt::format("... Omitting {} lines", lines - 2 * kShownAverages));
      line = lines - kShownAverages;
    }
    double compute = 0;
    double host = 0;
    double enqueue = 0;
    for (const QueryTrace& query : timed.subspan(line * runs, runs)) {
      compute += query.compute_ms();
      host += query.latency_ms();
      enqueue += query.enqueue_ms();
    }
    log.info(fmt::format("Average on {} runs - GPU latency: {} ms - Host latency: {} ms (enqueue {} ms)", group,
                         number_text(compute / group), number_text(host / group), number_text(enqueue / group)));
  }
}

std::string statistics_text(const TimeStatistics& s, std::span<const double> percents) {
  std::string text = fmt::format("min = {} ms, max = {} ms, mean = {} ms, median = {} ms", number_text(s.min),
                                 number_text(s.max), number_text(s.mean), number_text(s.median));
  for (size_t i = 0; i < percents.size(); ++i) {
    text += fmt::format(", percentile({}%) = {} ms", number_text(percents[i]), number_text(s.percentiles[i]));
  }
  return text;
}

void report_hints(Log& log, const TimeStatistics& enqueue, const TimeStatistics& compute, const TimeStatistics& h2d,
                  const TimeStatistics& d2h, int streams) {
  const auto hint = [&](const std::string& text) { log.warn("* " + text); };
  if (enqueue.median > 0.8 * compute.median) {
    hint("Launching takes over 80% of the compute time, so launching may limit the throughput.");
    hint("  Fewer and larger layers, a larger batch or --useCudaGraph (on a GPU) may help.");
  }
  if (h2d.median >= compute.median && h2d.median > 0) {
    hint("Copying inputs takes as long as computing, so copies may limit the throughput; --noDataTransfers shows.");
  }
  if (d2h.median >= compute.median && d2h.median > 0) {
    hint("Copying outputs takes as long as computing, so copies may limit the throughput; --noDataTransfers shows.");
  }
  if (compute.variation_percent > 1) {
    hint(fmt::format("GPU compute time is unstable, with coefficient of variance = {}%.",
                     number_text(compute.variation_percent)));
    hint("  Other programs, frequency changes or --cpuThreads above the free cores may be the cause.");
  }
  if (streams > 1) {
    hint(fmt::format("{} streams share the processor: the latency of one query includes waiting for the others.",
                     streams));
  }
}

void explain_metrics(Log& log) {
  log.detail("");
  log.detail("=== Explanations of the performance metrics ===");
  log.detail("Total Host Walltime: from the first query's start to the last one's end, warm-up excluded.");
  log.detail("GPU Compute Time: from the first layer's start to the last layer's end of one query, on any device.");
  log.detail("Total GPU Compute Time: the sum of that over all queries; far below the wall time means idle gaps.");
  log.detail("Enqueue Time: host time to hand one query to the device.");
  log.detail("H2D Latency, D2H Latency: copying the inputs to and the outputs from the device; 0 on the CPU.");
  log.detail("Latency: H2D Latency + GPU Compute Time + D2H Latency of one query.");
  log.detail("Throughput: queries divided by the wall time. A query is one run whatever its batch size.");
}

}  // namespace

double percentile(std::span<const double> ascending_ms, double percent) {
  if (ascending_ms.empty()) return 0;
  const auto n = static_cast<int64_t>(ascending_ms.size());
  // (100 - p) * n / 100, not (1 - p/100) * n: the latter loses a step to rounding, for 90 of 10 samples already.
  const auto above = static_cast<int64_t>(std::floor((100 - percent) * static_cast<double>(n) / 100));
  return ascending_ms[static_cast<size_t>(std::max<int64_t>(n - 1 - above, 0))];
}

double median(std::span<const double> ascending_ms) {
  if (ascending_ms.empty()) return 0;
  const size_t middle = ascending_ms.size() / 2;
  if (ascending_ms.size() % 2 == 1) return ascending_ms[middle];
  return (ascending_ms[middle - 1] + ascending_ms[middle]) / 2;
}

TimeStatistics time_statistics(std::vector<double> samples_ms, std::span<const double> percents) {
  TimeStatistics out;
  out.percentiles.resize(percents.size());
  if (samples_ms.empty()) return out;
  std::sort(samples_ms.begin(), samples_ms.end());
  const auto count = static_cast<double>(samples_ms.size());
  out.min = samples_ms.front();
  out.max = samples_ms.back();
  out.mean = std::accumulate(samples_ms.begin(), samples_ms.end(), 0.0) / count;
  out.median = median(samples_ms);
  for (size_t i = 0; i < percents.size(); ++i) out.percentiles[i] = percentile(samples_ms, percents[i]);
  double squares = 0;
  for (double sample : samples_ms) squares += (sample - out.mean) * (sample - out.mean);
  if (out.mean > 0) out.variation_percent = std::sqrt(squares / count) / out.mean * 100;
  return out;
}

std::vector<QueryTrace> without_warm_up(std::span<const QueryTrace> trace, double warm_up_ms) {
  const auto first = std::find_if(trace.begin(), trace.end(),
                                  [&](const QueryTrace& query) { return query.start_compute_ms >= warm_up_ms; });
  return {first, trace.end()};
}

void report_performance(Log& log, std::span<const QueryTrace> trace, const InferenceOptions& inference,
                        const ReportingOptions& reporting) {
  const std::vector<QueryTrace> timed = without_warm_up(trace, inference.warm_up_ms);
  const size_t warm = trace.size() - timed.size();
  log.info(fmt::format("Warmup completed {} queries over {} ms", warm, number_text(inference.warm_up_ms)));
  const double wall_s = wall_ms(timed) / 1000;
  log.info(fmt::format("Timing trace has {} queries over {} s", timed.size(), number_text(wall_s)));
  if (timed.empty()) return log.warn("no query was timed: raise --iterations or --duration");
  report_averages(log, timed, reporting.average_runs);

  const std::span<const double> percents = reporting.percentiles;
  const auto latency = time_statistics(durations(timed, &QueryTrace::latency_ms), percents);
  const auto enqueue = time_statistics(durations(timed, &QueryTrace::enqueue_ms), percents);
  const auto h2d = time_statistics(durations(timed, &QueryTrace::h2d_ms), percents);
  const auto compute = time_statistics(durations(timed, &QueryTrace::compute_ms), percents);
  const auto d2h = time_statistics(durations(timed, &QueryTrace::d2h_ms), percents);
  const double queries = static_cast<double>(timed.size());

  log.info("");
  log.info("=== Performance summary ===");
  log.info(fmt::format("Throughput: {} qps", number_text(wall_s > 0 ? queries / wall_s : 0)));
  log.info("Latency: " + statistics_text(latency, percents));
  log.info("Enqueue Time: " + statistics_text(enqueue, percents));
  log.info("H2D Latency: " + statistics_text(h2d, percents));
  log.info("GPU Compute Time: " + statistics_text(compute, percents));
  log.info("D2H Latency: " + statistics_text(d2h, percents));
  log.info(fmt::format("Total Host Walltime: {} s", number_text(wall_s)));
  log.info(fmt::format("Total GPU Compute Time: {} s", number_text(compute.mean * queries / 1000)));
  log.info("Explanations of the performance metrics are printed in the verbose logs.");
  report_hints(log, enqueue, compute, h2d, d2h, inference.streams);
  explain_metrics(log);
  log.info("");
}

std::string times_json(std::span<const QueryTrace> timed) {
  std::vector<std::string> objects;
  objects.reserve(timed.size());
  for (const QueryTrace& q : timed) {
    const nlohmann::ordered_json object{{"startEnqMs", to_nanoseconds(q.start_enqueue_ms)},
                                        {"endEnqMs", to_nanoseconds(q.end_enqueue_ms)},
                                        {"startH2dMs", to_nanoseconds(q.start_h2d_ms)},
                                        {"endH2dMs", to_nanoseconds(q.end_h2d_ms)},
                                        {"startComputeMs", to_nanoseconds(q.start_compute_ms)},
                                        {"endComputeMs", to_nanoseconds(q.end_compute_ms)},
                                        {"startD2hMs", to_nanoseconds(q.start_d2h_ms)},
                                        {"endD2hMs", to_nanoseconds(q.end_d2h_ms)},
                                        {"h2dMs", to_nanoseconds(q.h2d_ms())},
                                        {"computeMs", to_nanoseconds(q.compute_ms())},
                                        {"d2hMs", to_nanoseconds(q.d2h_ms())},
                                        {"latencyMs", to_nanoseconds(q.latency_ms())}};
    objects.push_back(object.dump());
  }
  return json_array_of_lines(objects);
}

}  // namespace planish::tools
