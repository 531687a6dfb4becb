#pragma once

#include <functional>
#include <string>
#include <vector>

#include "planish/api/quantize.h"
#include "planish/base/status.h"
#include "planish/tools/judge.h"
#include "planish/tools/sensitivity.h"
#include "planish/tools/trial.h"

namespace planish::tools {

struct SearchOptions {
  double max_drop = 0.01;  ///< of the judged number, 0 to 1
  Deadline deadline;
  bool fp16 = false;  ///< what stays in float may be FP16 or BF16
  bool bf16 = false;
};

/// What a search for the fastest mix of precisions came to.
struct SearchResult {
  Score in_float, in_int8, chosen;
  std::vector<NodeSensitivity> kept;                ///< nodes that stay in float, most harmful first
  double float_ms = 0, int8_ms = 0, chosen_ms = 0;  ///< the builder's times of whole networks
  bool reached = false;                             ///< `chosen` keeps the metric
  bool timed_out = false;                           ///< a faster mix may exist
  int64_t engines = 0;                              ///< built and judged
};

/// Finds the nodes to keep in float so that the judged number falls by no more than `max_drop`: nodes are ranked by the
/// error that each one causes alone per time that it saves, the shortest list of them that is enough is found by
/// bisection, and then its members go back to INT8 one by one where the number allows. `ranked`: from
/// measure_sensitivity(), with times. `say` gets a line per step.
Result<SearchResult> search_mix(Trials& trials, const api::CalibrationTable& table, const api::QuantizeOptions& options,
                                std::vector<NodeSensitivity> ranked, const Judge& judge, const SearchOptions& search,
                                const std::function<void(const std::string&)>& say);

}  // namespace planish::tools
