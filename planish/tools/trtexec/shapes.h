#pragma once

#include <string>
#include <vector>

#include "planish/base/status.h"
#include "planish/tools/trtexec/options.h"
#include "planish/tools/trtexec/session.h"

namespace planish::tools {

/// Lines that a shape decision adds to the log.
struct ShapeLog {
  std::vector<std::string> notes;
  std::vector<std::string> warnings;
};

/// The build profiles of `model`: every input gets concrete min, opt and max shapes. Unknown dimensions without a given
/// shape become 1 with a warning; shapes of a static model must equal the model's. Errors name input, axis and both
/// shapes.
Result<std::vector<ProfileShapes>> resolve_build_profiles(const Options& options, const ModelRecord& model,
                                                          ShapeLog& log);

/// The input shapes of a run: --shapes, else --batch on the leading dimension, else the profile's opt shapes. Errors
/// name input, axis, given and allowed range.
Result<ShapeList> resolve_run_shapes(const Options& options, const EngineRecord& engine, ShapeLog& log);

}  // namespace planish::tools
