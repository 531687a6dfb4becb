#pragma once

#include <span>

#include "planish/tactics/tactic.h"

namespace planish {

/// How long to measure one tactic.
struct TimingEffort {
  int min_runs = 3;         ///< timed runs at least
  int max_runs = 10;        ///< and at most
  double budget_ms = 20.0;  ///< no further run is started after this much time
};

/// Shortest time in ms of one tactic on the view, packed weights and prepared kernel included in the measurement only as
/// set-up. Inputs are filled with small pseudo-random values. Errors: what pack, prepare or run reported.
Result<double> time_tactic(const NodeView& view, const Tactic& tactic, const Target& target, const TimingEffort& effort,
                           std::string* detail = nullptr);

}  // namespace planish
