#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "planish/api/engine.h"
#include "planish/base/status.h"
#include "planish/tools/polygraphy/logger.h"
#include "planish/tools/polygraphy/options.h"

namespace planish::tools {

/// An engine of an ONNX model as the options of `polygraphy convert` and `run --trt` say, with polygraphy's log lines.
/// `also_precise` are further --layer-precisions, of `polygraphy debug precision`. Errors name option or node.
Result<api::Engine> build_polygraphy_engine(const std::string& model, const ParsedOptions& options, PolygraphyLog& log,
                                            const std::vector<std::pair<std::string, DType>>& also_precise = {});

/// Refuses the options that need TensorRT's Python package or hardware that is not there.
Status check_build_options(const ParsedOptions& options, PolygraphyLog& log);

/// Writes an engine and says so.
Status save_polygraphy_engine(const api::Engine& engine, const std::string& path, PolygraphyLog& log);

}  // namespace planish::tools
