#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "planish/api/quantize.h"
#include "planish/ir/graph.h"

namespace planish::api {

/// The samples of a batch one by one; empty when it is one sample, or none of its axes counts samples. They point to
/// the batch's data.
std::deque<CalibrationBatch> samples_of(const CalibrationBatch& batch);

/// Walks a source and keeps count of what could not be used. A batch that is refused comes again sample by sample, so
/// that a bad sample costs only itself.
class SampleWalk {
 public:
  SampleWalk(CalibrationSource& source, const CalibrationOptions& options, CalibrationStats& stats)
      : source_(source), options_(options), stats_(stats) {}

  /// The next batch that fits the network; nullopt at the end.
  Result<std::optional<CalibrationBatch>> next(const Graph& graph);
  /// As CalibrationSource::prepare().
  bool prepare() { return source_.prepare(); }
  /// The batch was of use.
  void used(const CalibrationBatch& batch);
  /// The network itself failed on a batch: counted like a bad sample.
  Status failed(const CalibrationBatch& batch, const Error& error);
  /// Error when too many samples are bad. Before the end only when nothing good can change that any more.
  [[nodiscard]] Status check_share(bool at_end) const;
  /// Parts of a refused batch are still to come: its data must stay where it is.
  [[nodiscard]] bool has_parts() const { return !parts_.empty(); }

 private:
  Result<std::optional<CalibrationBatch>> next_or_part();
  Status refused(const CalibrationBatch& batch, Error why);
  void skip(Error why, int64_t samples);

  CalibrationSource& source_;
  const CalibrationOptions& options_;
  CalibrationStats& stats_;
  std::vector<Error> skipped_;          ///< of the samples that are named
  std::deque<CalibrationBatch> parts_;  ///< of the batches that were refused last; they point to their data
  int64_t pending_ = 0;                 ///< samples of batches that came and were neither used nor failed yet
};

}  // namespace planish::api
