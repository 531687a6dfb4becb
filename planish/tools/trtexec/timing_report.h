#pragma once

#include <span>
#include <string>
#include <vector>

#include "planish/base/status.h"
#include "planish/tools/trtexec/log.h"
#include "planish/tools/trtexec/options.h"

namespace planish::tools {

/// One query's timeline in ms since the measurement began (warm-up included). On the CPU nothing is copied, so both
/// copies take no time and lie at the ends of the computation.
struct QueryTrace {
  double start_enqueue_ms = 0;
  double end_enqueue_ms = 0;
  double start_h2d_ms = 0;
  double end_h2d_ms = 0;
  double start_compute_ms = 0;
  double end_compute_ms = 0;
  double start_d2h_ms = 0;
  double end_d2h_ms = 0;
  int stream = 0;

  [[nodiscard]] double enqueue_ms() const { return end_enqueue_ms - start_enqueue_ms; }
  [[nodiscard]] double h2d_ms() const { return end_h2d_ms - start_h2d_ms; }
  [[nodiscard]] double compute_ms() const { return end_compute_ms - start_compute_ms; }
  [[nodiscard]] double d2h_ms() const { return end_d2h_ms - start_d2h_ms; }
  [[nodiscard]] double latency_ms() const { return h2d_ms() + compute_ms() + d2h_ms(); }
};

/// Statistics of one duration over all queries, in ms.
struct TimeStatistics {
  double min = 0;
  double max = 0;
  double mean = 0;
  double median = 0;
  std::vector<double> percentiles;  ///< in the order asked for
  double variation_percent = 0;     ///< population standard deviation / mean * 100
};

/// `percent` of 0 to 100 over ascending samples: index max(n - 1 - floor((1 - p/100) * n), 0).
double percentile(std::span<const double> ascending_ms, double percent);

/// Mean of the middle two for an even count; 0 without samples.
double median(std::span<const double> ascending_ms);

TimeStatistics time_statistics(std::vector<double> samples_ms, std::span<const double> percents);

/// The "Trace details" and "Performance summary" sections and the warnings after them. `trace` holds all queries in
/// order of their start, warm-up included: a query is warm-up when its computation began before `warm_up_ms`.
void report_performance(Log& log, std::span<const QueryTrace> trace, const InferenceOptions& inference,
                        const ReportingOptions& reporting);

/// The part of a trace that counts.
std::vector<QueryTrace> without_warm_up(std::span<const QueryTrace> trace, double warm_up_ms);

/// JSON array for --exportTimes, one object per query, warm-up excluded; keys as TensorRT writes them.
std::string times_json(std::span<const QueryTrace> timed);

}  // namespace planish::tools
