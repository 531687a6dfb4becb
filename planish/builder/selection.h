#pragma once

#include <vector>

#include "planish/builder/builder.h"
#include "planish/builder/tactic_timer.h"
#include "planish/ops/infer_graph.h"
#include "planish/tactics/layout_choice.h"

namespace planish {

/// One way to execute a node: a tactic with the layout of its image-like inputs and outputs.
struct Choice {
  const Tactic* tactic = nullptr;  ///< nullptr: costs nothing (views, concats and splits that share memory)
  Layout in = Layout::row_major;
  Layout out = Layout::row_major;
  double time_ms = 0;
  std::vector<Candidate> candidates;  ///< all tactics timed for these layouts
};

/// Picks one choice per node so that the sum of tactic times and of the reformats between differing layouts is small:
/// coordinate descent over the graph from every uniform layout, the best result wins. `views` are the nodes at the
/// tuned shapes; nodes with an unknown shape get row-major. Errors: no tactic for a node, cancelled timing.
Result<std::vector<Choice>> select_tactics(const Graph& graph, const std::vector<std::optional<NodeView>>& views,
                                           const BuildOptions& options, const Target& target, const TacticTable& table,
                                           TacticTimer& timer);

}  // namespace planish
