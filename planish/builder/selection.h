#pragma once

#include <vector>

#include "planish/builder/builder.h"
#include "planish/builder/tactic_timer.h"
#include "planish/ops/infer_graph.h"
#include "planish/tactics/layout_choice.h"
#include "planish/tactics/type_choice.h"

namespace planish {

/// One way to execute a node: a tactic with the layout of its image-like inputs and outputs and the types of its f32
/// activations.
struct Choice {
  const Tactic* tactic = nullptr;  ///< nullptr: costs nothing (views, concats and splits that share memory)
  Layout in = Layout::row_major;
  Layout out = Layout::row_major;
  TypePair types;
  std::vector<DType> halves_tried{};  ///< 16-bit types that some tactic computes the node in
  double time_ms = 0;
  double saved_ms = 0;  ///< beside the fastest f32 choice of the node, casts not counted; 0 for f32 choices
  std::vector<Candidate> candidates;  ///< all tactics timed for these layouts
};

/// Types that a node of an f32 network may be computed in besides f32, and whether f32 is allowed at all.
struct AllowedTypes {
  std::vector<DType> halves;           ///< f16, bf16
  bool f32 = true;                     ///< false: one of `halves` must be computed natively
  bool writes_f32 = false;             ///< results leave the layer in f32 whatever it computes in
  std::optional<DType> output_type{};  ///< the user's wish for the output's type
};

/// Picks one choice per node so that the sum of tactic times and of the reformats between differing layouts and types
/// is small: coordinate descent over the graph from every uniform layout and type, the best result wins. `views` are
/// the nodes at the tuned shapes; nodes with an unknown shape get row-major. `allowed` is parallel to the nodes.
/// Errors: no tactic for a node, cancelled timing.
Result<std::vector<Choice>> select_tactics(const Graph& graph, const std::vector<std::optional<NodeView>>& views,
                                           const std::vector<AllowedTypes>& allowed, const BuildOptions& options,
                                           const Target& target, const TacticTable& table, TacticTimer& timer);

}  // namespace planish
