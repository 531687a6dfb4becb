#pragma once

#include <span>
#include <vector>

#include "planish/builder/selection.h"

namespace planish {

/// What a reformat took, and between which nodes of the plan's space it stands; -1: the network's input or output.
struct ReformatTime {
  FormChange change;
  double ms = 0;
  int32_t writer = -1;
  int32_t reader = -1;
};

/// What the layers of a plan took while the whole network ran.
struct PlanTimes {
  std::vector<double> node_ms;  ///< by node of the plan's space; 0 where no kernel ran
  std::vector<ReformatTime> reformats;
  [[nodiscard]] double total_ms() const;
};

/// Runs whole networks.
class PlanRace {
 public:
  virtual ~PlanRace() = default;
  /// Runs the plans in turns, so that whatever slows the machine down slows all of them. Errors: what a run reported.
  virtual Result<std::vector<PlanTimes>> run(std::span<const Picks> plans) = 0;
  /// What is left of the time that may be spent, as a share of it.
  virtual double time_left() = 0;
};

/// How far the search looks.
struct SearchEffort {
  int max_rounds = 12;
  /// A choice that never ran in place is tried where this share of its expected time would win.
  double optimism = 0.8;
};

/// Looks for a better plan than `start` with whole networks in place of layers timed alone. Each round exchanges the
/// choices of all layers at once where another one may be faster, runs that plan by turns with the best one so far, and
/// learns from each layer's time beside the time that the best plan's choice took there in the same round. A plan takes
/// the place of the best one when its layers together were faster. When the time is up, what was learnt is put together
/// once more. Where a run fails the search ends. `start_times` is what `start` took in a race.
Picks search_in_place(PlanSpace& space, Picks start, const PlanTimes& start_times, PlanRace& race,
                      const SearchEffort& effort = {});

}  // namespace planish
