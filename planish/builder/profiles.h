#pragma once

#include "planish/builder/builder.h"

namespace planish {

/// Full profiles for the graph's inputs from the user's ranges: checks names, ranks and order (min <= opt <= max),
/// fills in inputs that were not named, and warns about every unknown dimension that becomes 1. A static input accepts
/// its own shape only; the error names both shapes.
Result<std::vector<Profile>> resolve_profiles(const Graph& graph, const BuildOptions& options);

/// Writes shapes into the graph's inputs: a dimension that all profiles fix becomes known, others stay -1.
void bind_profile_shapes(Graph& graph, const std::vector<Profile>& profiles);

}  // namespace planish
