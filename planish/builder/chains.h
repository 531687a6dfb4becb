#pragma once

#include <vector>

#include "planish/builder/selection.h"

namespace planish {

/// Layers that run as one, from the first to the last, each named by the value that it writes.
using Chain = std::vector<ValueId>;

/// Which of two chains with a part in common is taken.
enum class ChainPreference { most_saved, longest };

/// Chains that are faster as one layer than the chosen tactics one behind the other, by what timing says of either.
/// `choices` and `views` belong to the nodes of `graph`. With a `margin`, chains are found too that take up to this
/// share of their parts' time longer.
std::vector<Chain> find_chains(const Graph& graph, const std::vector<std::optional<NodeView>>& views,
                               const std::vector<Choice>& choices, const BuildOptions& options, const Target& target,
                               const TacticTable& table, TacticTimer& timer, double margin = 0,
                               ChainPreference preference = ChainPreference::most_saved);

/// The graph with those chains as one layer each (planish.Chain). nullopt: a chain is none in this graph.
std::optional<Graph> with_chains(const Graph& graph, const std::vector<Chain>& chains);

}  // namespace planish
