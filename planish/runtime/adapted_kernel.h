#pragma once

#include <memory>

#include "planish/tactics/tactic.h"

namespace planish {

/// Lets a kernel prepared for the layouts of `inner_view` stand for `outer_view` (the same node and shapes, other
/// layouts): copies operands into workspace in the wanted layout before, and results back after. For shapes and
/// machines at which no tactic takes the layouts that the builder chose. Errors: no tactic for one of the reformats.
Result<std::unique_ptr<Kernel>> adapt_layouts(std::unique_ptr<Kernel> inner, const NodeView& inner_view,
                                              const NodeView& outer_view, const TacticTable& table,
                                              const Target& target);

}  // namespace planish
