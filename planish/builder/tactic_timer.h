#pragma once

#include <limits>
#include <optional>
#include <string>

#include "planish/builder/builder.h"
#include "planish/tactics/timing.h"
#include "planish/tactics/timing_cache.h"

namespace planish {

/// Measures tactics through the timing cache.
class TacticTimer {
 public:
  TacticTimer(const BuildOptions& options, const Target& target);
  /// Says how many bytes of weights a run of the whole network reads: when the last-level cache cannot be expected to
  /// keep them, layers are timed with weights in main memory.
  void expect_weights(size_t bytes);
  /// Time in ms, measured or remembered. A tactic that is sure to take longer than `to_beat_ms` is measured roughly.
  /// Error invalid_argument when the cache must know the time and does not.
  Result<double> time(const NodeView& view, const Tactic& tactic,
                      double to_beat_ms = std::numeric_limits<double>::infinity());
  /// Numbers beside the times that the cache keeps for this device and number of threads.
  [[nodiscard]] std::optional<double> recall(const std::string& name) const;
  void remember(const std::string& name, double value);
  /// What follows `prefix` in the name that was remembered with the least value.
  [[nodiscard]] std::optional<std::string> recall_after(const std::string& prefix) const;
  /// Writes new times back. Failing to is only worth a warning: the engine does not depend on it.
  void save();
  [[nodiscard]] size_t timed() const { return timed_; }
  [[nodiscard]] size_t from_cache() const { return from_cache_; }
  /// Most memory that timing one tactic took, and the layer that took it.
  [[nodiscard]] size_t peak_bytes() const { return peak_bytes_; }
  [[nodiscard]] const std::string& peak_layer() const { return peak_layer_; }

 private:
  [[nodiscard]] std::string named(const std::string& name) const;
  /// Whether the weights are to be read from main memory.
  [[nodiscard]] bool is_cold(const NodeView& view) const;

  const BuildOptions& options_;
  Target target_;
  TimingEffort effort_;
  bool is_thorough_ = false;  ///< times of hastier builds are not good enough
  std::optional<std::filesystem::path> path_;
  TimingCache cache_;
  bool is_new_ = false;  ///< the cache holds what the file does not
  size_t timed_ = 0;
  size_t from_cache_ = 0;
  size_t peak_bytes_ = 0;
  std::string peak_layer_;
};

}  // namespace planish
