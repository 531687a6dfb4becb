#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <tuple>

#include "planish/builder/in_place_search.h"
#include "planish/ops/infer_graph.h"
#include "planish/runtime/context.h"

namespace planish {

/// A graph with the ways to execute its nodes.
struct NetworkForm {
  Graph graph;
  ShapeFacts facts;  ///< whose values the views point to
  std::vector<std::optional<NodeView>> views;
  std::unique_ptr<PlanSpace> space;
};

/// Runs plans of a network, each as the engine would that it became, and times every layer.
class NetworkRunner {
 public:
  NetworkRunner(const std::vector<Profile>& profiles, const BuildOptions& options, const Target& target,
                const TacticTable& table, double budget_ms);
  ~NetworkRunner();

  struct Entry {
    const NetworkForm* form = nullptr;
    Picks picks;
  };
  /// Runs the plans in turns; what each layer takes is the lower quartile of its runs. Errors: what packing weights,
  /// preparing or running reported.
  Result<std::vector<PlanTimes>> race(const std::vector<Entry>& plans);
  /// What is left of the budget, as a share of it.
  [[nodiscard]] double time_left() const;

 private:
  struct Running;
  /// What identifies weights packed for a layer: the value that it reads first and the one that it writes (chains of
  /// several lengths may end alike), operator, tactic, layouts and types.
  using PackKey = std::tuple<ValueId, ValueId, std::string, std::string_view, Layout, Layout, DType, DType>;
  using Packs = std::map<PackKey, std::vector<PackedConstant>>;

  Result<std::unique_ptr<Running>> prepare(const Entry& entry, Packs& packs);
  Status run_once(Running& running, bool counts);

  const std::vector<Profile>& profiles_;
  const BuildOptions& options_;
  const Target& target_;
  const TacticTable& table_;
  std::chrono::steady_clock::time_point begin_;
  double budget_ms_;
  Packs packs_;                                    ///< of the plans that ran last
  std::vector<std::unique_ptr<Running>> running_;  ///< these plans
};

}  // namespace planish
