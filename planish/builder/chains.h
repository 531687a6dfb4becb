#pragma once

#include <vector>

#include "planish/builder/selection.h"

namespace planish {

/// The graph with chains of layers as one layer each (planish.Chain), where timing says that this is faster than the
/// chosen tactics one behind the other. `choices` and `views` belong to the nodes of `graph`. nullopt: no chain pays.
std::optional<Graph> fuse_chains(const Graph& graph, const std::vector<std::optional<NodeView>>& views,
                                 const std::vector<Choice>& choices, const BuildOptions& options, const Target& target,
                                 const TacticTable& table, TacticTimer& timer);

}  // namespace planish
