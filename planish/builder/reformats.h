#pragma once

#include <optional>
#include <vector>

#include "planish/builder/selection.h"

namespace planish {

/// The graph in which every value has the layout and type that its producer chose, with Reformat nodes where a
/// consumer (or the network's output) wants another form, and weights in the type of their layer. `views` are the
/// nodes as they were chosen for; `choices` grows in step with the nodes. `outputs_as_made`: the network's outputs stay
/// as their producers write them.
Graph insert_reformats(const Graph& graph, const std::vector<std::optional<NodeView>>& views,
                       std::vector<Choice>& choices, bool outputs_as_made = false);

}  // namespace planish
