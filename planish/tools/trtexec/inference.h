#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "planish/base/status.h"
#include "planish/tools/trtexec/log.h"
#include "planish/tools/trtexec/output_report.h"
#include "planish/tools/trtexec/session.h"
#include "planish/tools/trtexec/timing_report.h"

namespace planish::tools {

/// Source of time, replaced by tests.
struct Clock {
  std::function<double()> now_ms;
  std::function<void(double)> sleep_ms;
  /// The real monotonic clock.
  static Clock monotonic();
};

/// Set to end a `--duration=-1` run; signal handlers may write it.
extern std::atomic<bool> g_interrupted;

/// Contexts with their inputs bound, ready to run.
class Inference {
 public:
  Inference(Session& session, const Options& options, Log& log, Clock clock)
      : session_(session), options_(options), log_(log), clock_(std::move(clock)) {}

  /// Creates the contexts and fills the inputs from files or at random; logs one line per input and output.
  Status prepare(const ShapeList& shapes);
  /// Runs warm-up and timed queries on all streams; the trace is in order of computation start.
  Result<std::vector<QueryTrace>> run_timed();
  /// Runs with the profiler; one vector of layer times in ms per run.
  Result<std::vector<std::vector<double>>> run_profiled();
  /// Layers that the profiled runs executed.
  [[nodiscard]] Result<std::vector<LayerRecord>> layers() const { return contexts_.front()->layers(); }
  /// One query with inputs from `files` (random where a name is missing).
  Status run_with(const PairList& files);
  /// Inputs and the outputs of the last query of the first stream.
  [[nodiscard]] Result<std::vector<HostTensor>> tensors() const;
  /// Marked tensors of the first stream's last run.
  [[nodiscard]] Result<std::vector<HostTensor>> debug_tensors() const;

 private:
  [[nodiscard]] Result<std::vector<HostTensor>> fetch(const std::vector<TensorRecord>& records) const;
  Status fill_inputs(const PairList& files);
  Status bind_inputs();
  Status first_run();
  Result<std::vector<QueryTrace>> run_stream(size_t stream, double origin_ms);

  Session& session_;
  const Options& options_;
  Log& log_;
  Clock clock_;
  std::vector<HostTensor> inputs_;
  std::vector<bool> input_is_random_;
  std::vector<std::unique_ptr<RunContext>> contexts_;
};

}  // namespace planish::tools
