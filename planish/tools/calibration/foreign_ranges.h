#pragma once

#include <string>

#include "planish/api/quantize.h"
#include "planish/base/status.h"

namespace planish::tools {

/// Ranges in JSON by tensor name: planish's own form, or what other tools write - ONNX Runtime's calibration.json
/// (objects with lowest and highest) and plain {name: amax} or {name: [min, max]}. Errors: corrupt, unsupported; name
/// the tensor.
Result<api::CalibrationTable> ranges_from_json(const std::string& text, const std::string& file);

/// Lines of "name amax", as ONNX Runtime's calibration.cache has them. Errors name the line.
Result<api::CalibrationTable> ranges_from_lines(const std::string& text, const std::string& file);

}  // namespace planish::tools
