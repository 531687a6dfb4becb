#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "planish/api/data.h"
#include "planish/base/status.h"
#include "planish/tools/polygraphy/logger.h"
#include "planish/tools/polygraphy/options.h"
#include "planish/tools/polygraphy/runner.h"

namespace planish::tools {

/// Where a run's inputs come from: iteration by iteration.
class InputData {
 public:
  virtual ~InputData() = default;
  /// What the first runner wants; generated data follows it, a script's loader may ask for it.
  virtual Status prepare(const std::vector<RunnerInput>& inputs) = 0;
  /// nullopt at the end.
  virtual Result<std::optional<NamedTensors>> next() = 0;
};

/// Saved inputs, a script, or random values, as the options say. Errors name the option.
Result<std::unique_ptr<InputData>> make_input_data(const ParsedOptions& options, PolygraphyLog& log);

/// Values for one input as Polygraphy's data loader makes them.
struct ValueRange {
  double low = 0;
  double high = 1;
};

}  // namespace planish::tools
