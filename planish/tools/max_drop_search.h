#pragma once

#include <functional>
#include <string>
#include <vector>

#include "planish/base/status.h"
#include "planish/tools/judge.h"
#include "planish/tools/sensitivity.h"

namespace planish::tools {

struct SearchOptions {
  double max_drop = 0.01;  ///< of the judged number, 0 to 1
  Deadline deadline;
};

/// How well and how fast one network is.
struct Measured {
  Score score;
  double ms = 0;  ///< a run, measured
};

/// One mix of precisions that was built and judged.
struct MixTrial {
  std::vector<NodeSensitivity> kept;  ///< nodes in float, most harmful first
  Measured measured;
  bool enough = false;  ///< it keeps the limit
};

/// What a search for the fastest mix of precisions came to.
struct SearchResult {
  Measured in_float;  ///< FP32
  std::vector<MixTrial> trials;
  MixTrial chosen;         ///< keeps the limit, always
  bool all_float = false;  ///< `chosen` has no node in INT8
  /// What stays in float was judged in half precision and loses too much by that alone: `chosen` is measured in FP32.
  bool only_in_fp32 = false;
  bool timed_out = false;  ///< a faster mix may exist

  /// Whether `chosen` has nodes in INT8 and was measured slower than FP32 all the same.
  [[nodiscard]] bool loses_time() const { return !all_float && chosen.measured.ms > in_float.ms; }
  /// Of those that lose too much and have nodes in INT8 the one that loses least; nullptr without any.
  [[nodiscard]] const MixTrial* nearest_miss(size_t nodes) const;
};

/// Builds and judges the network with these nodes in float.
using TryMix = std::function<Result<Measured>(const std::vector<NodeSensitivity>& kept)>;

/// Finds the nodes to keep in float so that the judged number falls by no more than `max_drop` below `in_float`: nodes
/// are ranked by the error that each one causes alone per time that it saves, the shortest list of them that is enough
/// is found by bisection, and then its members go back to INT8 one by one where the number allows. Of all mixes that
/// were tried and keep the limit the fastest is chosen; where none does, all nodes stay in float. `ranked`: every node
/// that could be in INT8, from measure_sensitivity(), with times. `say` gets a line per step.
Result<SearchResult> search_mix(Measured in_float, std::vector<NodeSensitivity> ranked, const SearchOptions& search,
                                const TryMix& try_mix, const std::function<void(const std::string&)>& say);

}  // namespace planish::tools
