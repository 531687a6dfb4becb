#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "planish/builder/builder.h"
#include "planish/builder/selection.h"
#include "planish/builder/tactic_timer.h"

namespace planish {

/// A network with one choice for every node, not yet with the reformats between them.
struct ChosenPlan {
  std::unique_ptr<Graph> graph;                ///< with chains of layers as one layer each
  ShapeFacts facts;                            ///< whose values the views point to
  std::vector<std::optional<NodeView>> views;  ///< its nodes at the tuned shapes
  std::vector<Choice> choices;
};

/// The nodes of a graph at the tuned shapes; nullopt where a shape is unknown, nothing is computed, or shape arithmetic
/// knows the result.
std::vector<std::optional<NodeView>> tuned_views(const Graph& graph, const ShapeFacts& facts);

/// The first allowed tactic for a Reformat; where the options forbid all of them, the first that there is, because a
/// layout change that was chosen has to happen.
const Tactic* reformat_tactic(const NodeView& view, const BuildOptions& options, const Target& target,
                              const TacticTable& table);

/// Chooses layouts, tactics and chains of layers together: by the times of layers alone, and from the default level on
/// by running whole networks (see in_place_search.h), whose result the timing cache keeps. `profiles[0]` is what is
/// tuned for. Errors: no tactic for a node, cancelled timing, a precision that cannot be obeyed.
Result<ChosenPlan> choose_plan(Graph graph, const std::vector<Profile>& profiles, const BuildOptions& options,
                               const Target& target, const TacticTable& table, TacticTimer& timer);

}  // namespace planish
