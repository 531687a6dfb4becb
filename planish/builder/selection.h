#pragma once

#include <memory>
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
  int32_t node = -1;                  ///< of the graph that it was made for; -1: a reformat
};

/// Types that a node of an f32 network may be computed in besides f32, and whether f32 is allowed at all.
struct AllowedTypes {
  std::vector<DType> halves;           ///< f16, bf16
  bool f32 = true;                     ///< false: one of `halves` must be computed natively
  bool writes_f32 = false;             ///< results leave the layer in f32 whatever it computes in
  std::optional<DType> output_type{};  ///< the user's wish for the output's type
};

/// Which of its choices each node takes, by node.
using Picks = std::vector<size_t>;

/// How a value lies in memory at one end of an edge.
struct Form {
  Layout layout = Layout::row_major;
  DType type = DType::f32;
  friend auto operator<=>(const Form&, const Form&) = default;
};

/// A change of form of a tensor of some shape.
struct FormChange {
  Shape shape;
  Form from;
  Form to;
  friend auto operator<=>(const FormChange&, const FormChange&) = default;
};

/// A plan, and the layout and type that everything was in before coordinate descent made it.
struct LocalOptimum {
  Form from;
  Picks picks;
};

/// The ways to execute the nodes of a network, and what each costs. A plan is one choice per node; it costs the times
/// of its choices and of the reformats between differing layouts and types.
class PlanSpace {
 public:
  virtual ~PlanSpace() = default;
  /// By node; those that are not far behind the node's fastest in their layouts.
  [[nodiscard]] virtual const std::vector<std::vector<Choice>>& choices() const = 0;
  /// A plan that costs little when choice c of node n takes `ms[n][c]`: coordinate descent over the graph from `start`
  /// (unless empty) and from every uniform layout and type, the best result wins.
  virtual Picks cheapest(const std::vector<std::vector<double>>& ms, const Picks& start) = 0;
  /// What a plan costs then.
  virtual double cost_ms(const std::vector<std::vector<double>>& ms, Picks picks) = 0;
  /// The plans that coordinate descent reaches from each uniform layout and type, in a fixed order, f32 first. Which
  /// 16-bit types there are depends on the nodes, so that forms of a network with other chains may have fewer or more.
  virtual std::vector<LocalOptimum> local_optima(const std::vector<std::vector<double>>& ms) = 0;
  /// The choice of node `n` that is like `wanted` in tactic, layouts and types, timed now if nothing has yet; nullopt:
  /// the node cannot be executed so.
  virtual std::optional<size_t> find(size_t n, const Choice& wanted) = 0;
  /// Changes of form take that long from now on.
  virtual void set_reformat_ms(const FormChange& change, double ms) = 0;
};

/// The times of all choices as they were measured alone.
std::vector<std::vector<double>> times_alone(const PlanSpace& space);

/// The choices of a plan.
std::vector<Choice> choices_of(const PlanSpace& space, const Picks& picks);

/// Times the tactics of every node. `views` are the nodes at the tuned shapes; nodes with an unknown shape get
/// row-major. `allowed` is parallel to the nodes. What is passed must outlive the result. Errors: no tactic for a node,
/// cancelled timing.
Result<std::unique_ptr<PlanSpace>> time_tactics(const Graph& graph, const std::vector<std::optional<NodeView>>& views,
                                                const std::vector<AllowedTypes>& allowed, const BuildOptions& options,
                                                const Target& target, const TacticTable& table, TacticTimer& timer);

}  // namespace planish
