#pragma once

#include <limits>
#include <map>
#include <optional>
#include <string>

#include "planish/builder/tactic_timer.h"
#include "planish/tactics/tactic.h"

namespace planish {

/// What timings of similar nodes tell about the next node: how many times longer than the best way to run its node a
/// tactic took in its layouts. Nodes are similar when operator, types, window and grouping are the same. The builder
/// begins with what won, so that the others can be given up early, and does not time what was always far behind. What
/// one build learns stays in the timing cache.
class TacticOrder {
 public:
  explicit TacticOrder(TacticTimer& timer) : timer_(timer) {}

  /// The least ratio seen, 1 for what was never timed.
  double ratio(const NodeView& view, const Tactic& tactic);
  /// Whether the tactic can be left out, when the best time of the node so far is `best_ms` and one of `to_beat_ms`
  /// would be of use.
  bool is_hopeless(const NodeView& view, const Tactic& tactic, double best_ms, double to_beat_ms);
  /// A tactic took `ms` where the best way to run the node took `best_ms`.
  void learn(const NodeView& view, const Tactic& tactic, double ms, double best_ms);
  /// Hands what was learnt to the timing cache.
  void save();

 private:
  struct Seen {
    double least = std::numeric_limits<double>::infinity();
    int nodes = 0;
    bool fresh = false;  ///< not in the cache yet
  };
  Seen& seen(const NodeView& view, const Tactic& tactic);

  TacticTimer& timer_;
  std::map<std::string, Seen> seen_;
};

}  // namespace planish
