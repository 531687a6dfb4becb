#pragma once

#include <string>
#include <vector>

#include "planish/base/status.h"
#include "planish/tools/trtexec/options.h"
#include "planish/tools/trtexec/session.h"

namespace planish::tools {

/// What is asked for and not there. `status` set to an error: do not go on; else the lines are shown and `options` may
/// have been changed to what is possible.
struct CapabilityReport {
  std::vector<std::string> notes;
  std::vector<std::string> warnings;
};

/// Checks that need no model: device index, DLA, calibration path.
Result<CapabilityReport> check_system_capabilities(Options& options);

/// Checks that depend on the model: where INT8 scales come from.
Result<CapabilityReport> check_model_capabilities(Options& options, const ModelRecord& model);

}  // namespace planish::tools
