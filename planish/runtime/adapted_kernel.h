#pragma once

#include <memory>
#include <span>

#include "planish/tactics/tactic.h"

namespace planish {

/// Lets a kernel prepared for the layouts and types of `inner_view` stand for `outer_view` (the same node and shapes):
/// copies operands into workspace in the wanted form before, and results back after. Constants in `packed` are in the
/// kernel's form already. For shapes and machines at which no tactic takes the forms that the builder chose. Errors: no
/// tactic for one of the reformats.
Result<std::unique_ptr<Kernel>> adapt_forms(std::unique_ptr<Kernel> inner, const NodeView& inner_view,
                                            const NodeView& outer_view, std::span<const PackedConstant> packed,
                                            const TacticTable& table, const Target& target);

}  // namespace planish
