#pragma once

#include "planish/api/engine.h"
#include "planish/base/status.h"
#include "planish/tools/polygraphy/logger.h"
#include "planish/tools/polygraphy/options.h"

namespace planish::tools {

/// Prepares `config` for an --int8 build of `model`: nothing to do when it has Q/DQ; else ranges from
/// --calibration-cache, or from calibrating on the data loader's inputs (random ones with a warning) at the opt shapes
/// of the last profile, which writes the cache.
Status prepare_int8(const api::Model& model, const ParsedOptions& options, api::BuildConfig& config,
                    PolygraphyLog& log);

}  // namespace planish::tools
