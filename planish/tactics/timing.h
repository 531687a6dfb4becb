#pragma once

#include <limits>
#include <span>

#include "planish/tactics/tactic.h"

namespace planish {

/// How long to measure one tactic.
struct TimingEffort {
  int min_runs = 3;         ///< timed runs at least
  int max_runs = 10;        ///< and at most
  double budget_ms = 20.0;  ///< no further run is started after this much time
  /// Every run finds the constants in main memory, as in a network whose weights the caches cannot hold.
  bool cold_constants = false;
  /// What the tactic has to beat. Where its first runs say that it will not, it is given up.
  double to_beat_ms = std::numeric_limits<double>::infinity();
};

/// What measuring a tactic gave.
struct Timing {
  size_t memory_bytes = 0;  ///< what its operands and workspace took
  double ms = 0;            ///< the shortest run: whatever else the machine does only ever adds time
  bool given_up = false;    ///< measured only until it was sure to be slower than TimingEffort::to_beat_ms
  bool stable = true;       ///< the two shortest runs agree within a tenth, and nothing else ran during the shortest
};

/// Measures one tactic on the view; packing weights and preparing the kernel are set-up and do not count. Inputs are
/// filled with small pseudo-random values. While the times do not agree it goes on for up to five times the budget.
/// Errors: what pack, prepare or run reported.
Result<Timing> time_tactic(const NodeView& view, const Tactic& tactic, const Target& target, const TimingEffort& effort,
                           std::string* detail = nullptr);

}  // namespace planish
