#pragma once

#include "planish/api/engine.h"
#include "planish/base/status.h"

namespace planish::api {

/// Whether a build with this configuration looks for layers that INT8 makes slower.
bool compares_with_float(const Model& model, const BuildConfig& config);

/// Engine::build() for such a configuration: the INT8 engine, or one with some layers in float that whole runs proved
/// faster. Costs a tuned float build and, where a mix promises to be faster, up to three more builds from the timing
/// cache and about a second of runs.
Result<Engine> build_with_float_fallback(const Model& model, const BuildConfig& config, BuildStats* stats);

}  // namespace planish::api
