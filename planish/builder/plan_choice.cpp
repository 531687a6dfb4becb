#include "planish/builder/plan_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <map>

#include "planish/base/atomic_file.h"
#include "planish/builder/chains.h"
#include "planish/builder/network_runner.h"
#include "planish/builder/plan_text.h"
#include "planish/builder/precision.h"
#include "planish/ops/infer_graph.h"
#include "planish/tactics/node_view.h"
#include "planish/tactics/tactic_source.h"

namespace planish {
namespace {

using Clock = std::chrono::steady_clock;

/// Whole networks may run for as long as timing the layers alone took, and for at least so many of their runs, within
/// these times.
constexpr double kLeastRuns = 600;
constexpr double kLeastBudgetMs = 1200;
constexpr double kEnoughBudgetMs = 3500;
constexpr double kExhaustiveBudget = 4;  ///< times what is enough for the default level
/// A network of which one run takes more than this share of that time is not run at all.
constexpr double kLongestRun = 0.05;
/// Bytes of weights that all plans which run in turns may hold together: each packs its own.
constexpr size_t kMostPacked = size_t{512} << 20;
/// Plans that by the times of layers alone take up to this many times the least are worth running.
constexpr double kNear = 1.3;
/// Chains that alone lose by up to this share against their parts are tried in place.
constexpr double kChainMargin = 0.15;

/// Runs plans of one form.
class FormRace final : public PlanRace {
 public:
  /// `share` of the time that is left is there to be spent.
  FormRace(NetworkRunner& runner, const NetworkForm& form, double share)
      : runner_(runner), form_(form), from_(runner.time_left()), to_(from_ * (1 - share)) {}
  Result<std::vector<PlanTimes>> run(std::span<const Picks> plans) override {
    std::vector<NetworkRunner::Entry> entries;
    for (const Picks& picks : plans) entries.push_back({&form_, picks});
    return runner_.race(entries);
  }
  double time_left() override { return from_ > to_ ? (runner_.time_left() - to_) / (from_ - to_) : 0; }

 private:
  NetworkRunner& runner_;
  const NetworkForm& form_;
  double from_;
  double to_;
};

class PlanChooser {
 public:
  PlanChooser(Graph graph, const std::vector<Profile>& profiles, const BuildOptions& options, const Target& target,
              const TacticTable& table, TacticTimer& timer)
      : source_(std::move(graph)),
        profiles_(profiles),
        options_(options),
        target_(target),
        table_(table),
        timer_(timer) {}

  Result<ChosenPlan> run() {
    Variant apart = PLANISH_TRY(form_of({}));
    const bool in_place = options_.runs_in_place();
    const std::string key = in_place ? network_key(apart) : "";
    if (in_place)
      if (auto known = known_plan(key)) return finish(std::move(*known));
    PLANISH_TRY(time(apart));
    if (!in_place || options_.error_on_timing_cache_miss)
      return finish(PLANISH_TRY(with_best_chains(std::move(apart))));
    std::vector<Basin> basins = PLANISH_TRY(basins_of(apart, kNear));
    if (packed_at_once(basins) > kMostPacked) return finish(PLANISH_TRY(with_best_chains(std::move(apart))));
    PLANISH_TRY(add_full_clock(basins));
    if (basins.size() == 1 && basins[0].fused.empty() && !has_alternatives(apart)) return finish(std::move(apart));
    const double spent_ms = std::chrono::duration<double, std::milli>(Clock::now() - begin_).count();
    const double run_ms = cost_alone(apart);
    const double budget_ms = options_.is_exhaustive()
                                 ? std::max(kEnoughBudgetMs, spent_ms) * kExhaustiveBudget
                                 : std::max(std::clamp(kLeastRuns * run_ms, kLeastBudgetMs, kEnoughBudgetMs), spent_ms);
    if (run_ms > kLongestRun * budget_ms) return finish(PLANISH_TRY(with_best_chains(std::move(apart))));
    if (options_.progress) options_.progress("whole network", 0, 1);
    NetworkRunner runner(profiles_, options_, target_, table_, budget_ms);
    const std::optional<Variant> chosen = PLANISH_TRY(settle(basins, runner));
    if (!chosen) return finish(PLANISH_TRY(with_best_chains(std::move(apart))));
    timer_.remember(key + plan_text(chosen->chains, choices_of(*chosen->form->space, chosen->picks)), 0);
    if (options_.progress) options_.progress("whole network", 1, 1);
    return finish(*chosen);
  }

 private:
  /// The network with certain chains, and the plan for it.
  struct Variant {
    const BuildOptions* options = nullptr;
    std::vector<Chain> chains;
    std::shared_ptr<NetworkForm> form;
    std::vector<AllowedTypes> allowed;
    Picks picks;
  };
  struct Timed {
    Variant v;
    PlanTimes times;
  };
  /// The network mostly in one layout. Which chains pay depends on the layout, and the other way round, and a plan in
  /// one does not reach the other by steps that pay each.
  struct Basin {
    Form from;                   ///< of PlanSpace::local_optima()
    Variant apart;               ///< without chains
    std::vector<Variant> fused;  ///< with chains that come near their parts: those that save most, the longest
  };

  Result<Variant> form_of(std::vector<Chain> chains) { return form_of(std::move(chains), options_); }

  Result<Variant> form_of(std::vector<Chain> chains, const BuildOptions& options) {
    Variant v;
    v.options = &options;
    v.form = std::make_shared<NetworkForm>();
    auto graph = with_chains(source_, chains);
    if (!graph) return Error{.code = Code::internal, .what = "a chain of layers is none"};
    v.chains = std::move(chains);
    v.form->graph = std::move(*graph);
    PLANISH_TRY(verify(v.form->graph));
    std::vector<std::optional<Shape>> tuned;
    for (const ShapeRange& r : profiles_[0].inputs) tuned.emplace_back(r.opt);
    v.form->facts = PLANISH_TRY(infer_shapes(v.form->graph, tuned));
    v.form->views = tuned_views(v.form->graph, v.form->facts);
    v.allowed = PLANISH_TRY(allowed_types(v.form->graph, options));
    return v;
  }

  Status time(Variant& v) {
    v.form->space =
        PLANISH_TRY(time_tactics(v.form->graph, v.form->views, v.allowed, *v.options, target_, table_, timer_));
    v.picks = v.form->space->cheapest(times_alone(*v.form->space), {});
    return {};
  }

  /// Chains that pay beside the layers of a plan.
  std::vector<Chain> more_chains(const Variant& v, const Picks& picks, double margin, ChainPreference preference) {
    return find_chains(v.form->graph, v.form->views, choices_of(*v.form->space, picks), *v.options, target_, table_,
                       timer_, margin, preference);
  }

  /// Chains by the times of layers alone. One changes which layouts pay, and with them other chains.
  Result<Variant> with_best_chains(Variant v) {
    for (;;) {
      const auto found = more_chains(v, v.picks, 0, ChainPreference::most_saved);
      if (found.empty()) return v;
      std::vector<Chain> chains = v.chains;
      chains.insert(chains.end(), found.begin(), found.end());
      v = PLANISH_TRY(form_of(std::move(chains), *v.options));
      PLANISH_TRY(time(v));
    }
  }

  /// The basins whose cost, by the times of layers alone, is at most `near` times the least; where no chain comes near
  /// its parts just one, because the search that follows crosses between plans of one network form.
  Result<std::vector<Basin>> basins_of(const Variant& apart, double near) {
    PlanSpace& space = *apart.form->space;
    const auto alone = times_alone(space);
    const auto plans = space.local_optima(alone);
    const double least = space.cost_ms(alone, apart.picks);
    std::vector<Basin> basins;
    bool has_chains = false;
    for (const auto& [from, picks] : plans) {
      const auto same = [&](const Basin& b) { return b.apart.picks == picks; };
      if (space.cost_ms(alone, picks) > near * least || std::ranges::any_of(basins, same)) continue;
      Basin& basin = basins.emplace_back(Basin{from, apart, {}});
      basin.apart.picks = picks;
      for (const auto preference : {ChainPreference::most_saved, ChainPreference::longest}) {
        std::vector<Chain> chains = more_chains(apart, picks, kChainMargin, preference);
        if (chains.empty() || has_form(basin.fused, chains)) continue;
        has_chains = true;
        basin.fused.push_back(PLANISH_TRY(in_layout(std::move(chains), from, *apart.options)));
      }
    }
    if (!has_chains) basins.assign(1, Basin{{}, apart, {}});
    return basins;
  }

  /// Where plans have tactics that lower the clock, the cheapest plan without any joins them. Layers timed alone cannot
  /// tell which is faster.
  Status add_full_clock(std::vector<Basin>& basins) {
    const auto lowers = [](const Variant& v) {
      return std::ranges::any_of(choices_of(*v.form->space, v.picks),
                                 [](const Choice& c) { return c.tactic != nullptr && c.tactic->lowers_clock; });
    };
    const auto any_lowers = [&](const Basin& b) { return lowers(b.apart) || std::ranges::any_of(b.fused, lowers); };
    if (std::ranges::none_of(basins, any_lowers)) return {};
    full_clock_ = options_;
    for (const Tactic* tactic : table_.tactics)
      if (tactic->lowers_clock) full_clock_.disabled_tactics.emplace_back(tactic->id);
    Variant apart = PLANISH_TRY(form_of({}, full_clock_));
    PLANISH_TRY(time(apart));
    const double best_ms = cost_alone(basins[0].apart);
    if (cost_alone(apart) > kNear * best_ms) return {};
    std::vector<Basin> more = PLANISH_TRY(basins_of(apart, 1.0));
    std::ranges::move(more, std::back_inserter(basins));
    while (packed_at_once(basins) > kMostPacked) basins.pop_back();
    return {};
  }

  static double cost_alone(const Variant& v) { return v.form->space->cost_ms(times_alone(*v.form->space), v.picks); }

  static bool has_form(const std::vector<Variant>& variants, const std::vector<Chain>& chains) {
    return std::ranges::any_of(variants, [&](const Variant& v) { return v.chains == chains; });
  }

  /// The network with these chains, and the plan for it that is mostly in one layout and type. Where chains took all
  /// layers that are computed in the type there is none, and the cheapest plan has to do.
  Result<Variant> in_layout(std::vector<Chain> chains, const Form& from, const BuildOptions& options) {
    Variant v = PLANISH_TRY(form_of(std::move(chains), options));
    PLANISH_TRY(time(v));
    PlanSpace& space = *v.form->space;
    auto plans = space.local_optima(times_alone(space));
    if (const auto found = std::ranges::find(plans, from, &LocalOptimum::from); found != plans.end())
      v.picks = std::move(found->picks);
    return v;
  }

  static size_t packed_at_once(const std::vector<Basin>& basins) {
    size_t weights = 0;
    for (const Value& v : basins[0].apart.form->graph.values)
      if (v.constant) weights += v.constant->bytes();
    size_t plans = 0;
    for (const Basin& b : basins) plans += 1 + b.fused.size();
    return weights * std::max<size_t>(plans, 2);
  }

  static bool has_alternatives(const Variant& v) {
    return std::ranges::any_of(v.form->space->choices(), [](const auto& choices) { return choices.size() > 1; });
  }

  void search(Timed& plan, NetworkRunner& runner, double share) const {
    FormRace race(runner, *plan.v.form, share);
    const SearchEffort effort =
        options_.is_exhaustive() ? SearchEffort{.max_rounds = 40, .optimism = 0.65} : SearchEffort{};
    plan.v.picks = search_in_place(*plan.v.form->space, std::move(plan.v.picks), plan.times, race, effort);
  }

  /// What variants take in one race; empty where a run failed.
  static std::vector<PlanTimes> race(const std::vector<const Variant*>& variants, NetworkRunner& runner) {
    std::vector<NetworkRunner::Entry> entries;
    for (const Variant* v : variants) entries.push_back({v->form.get(), v->picks});
    auto times = runner.race(entries);
    return times.ok() ? std::move(times).value() : std::vector<PlanTimes>{};
  }

  /// The fastest of the plans that searching from each basin finds; none where the network could not run: data that
  /// it accepts is not known here, and what is missing may be memory.
  Result<std::optional<Variant>> settle(const std::vector<Basin>& basins, NetworkRunner& runner) {
    std::vector<Timed> best = PLANISH_TRY(best_forms(basins, runner));
    if (best.empty()) return std::optional<Variant>();
    for (size_t i = 0; i < best.size(); ++i) search(best[i], runner, 1.0 / static_cast<double>(best.size() - i));
    if (best.size() > 1) {
      const auto times = race({&best[0].v, &best[1].v}, runner);
      if (!times.empty() && times[1].total_ms() < times[0].total_ms()) return std::optional(std::move(best[1].v));
    }
    return std::optional(std::move(best[0].v));
  }

  /// The fastest form of each basin: without chains, with all of one kind, or with those that were fastest where they
  /// stand. The two best basins, or one that is far ahead; none where a run failed.
  Result<std::vector<Timed>> best_forms(const std::vector<Basin>& basins, NetworkRunner& runner) {
    constexpr double kFarAhead = 1.1;
    const auto total = [](const Timed& t) { return t.times.total_ms(); };
    std::vector<std::vector<Timed>> forms(basins.size());  // by basin
    for (size_t i = 0; i < basins.size(); ++i) {
      forms[i].push_back({basins[i].apart, {}});
      for (const Variant& fused : basins[i].fused) forms[i].push_back({fused, {}});
    }
    if (!race_all(forms, runner)) return std::vector<Timed>{};
    bool again = false;
    for (size_t i = 0; i < basins.size(); ++i) {
      if (basins[i].fused.empty()) continue;
      std::vector<Chain> fastest = fastest_chains(forms[i]);
      const bool known = fastest.empty() || has_form(basins[i].fused, fastest);
      Timed fastest_form = std::move(*std::ranges::min_element(forms[i], {}, total));
      forms[i].clear();
      forms[i].push_back(std::move(fastest_form));
      if (known) continue;
      forms[i].push_back({PLANISH_TRY(in_layout(std::move(fastest), basins[i].from, *basins[i].apart.options)), {}});
      again = true;
    }
    if (again && !race_all(forms, runner)) return std::vector<Timed>{};
    std::vector<Timed> best;
    for (auto& of_basin : forms) best.push_back(*std::ranges::min_element(of_basin, {}, total));
    std::ranges::stable_sort(best, {}, total);
    if (best.size() > 2) best.resize(2);
    if (best.size() == 2 && total(best[1]) > kFarAhead * total(best[0])) best.resize(1);
    return best;
  }

  static bool race_all(std::vector<std::vector<Timed>>& forms, NetworkRunner& runner) {
    std::vector<const Variant*> all;
    for (const auto& of_basin : forms)
      for (const Timed& t : of_basin) all.push_back(&t.v);
    auto times = race(all, runner);
    if (times.empty()) return false;
    size_t at = 0;
    for (auto& of_basin : forms)
      for (Timed& t : of_basin) t.times = std::move(times[at++]);
    return true;
  }

  /// Of every part of the network that some form has chains in, the chains of the form that is fastest there; forms[0]
  /// has none.
  static std::vector<Chain> fastest_chains(const std::vector<Timed>& forms) {
    std::vector<Chain> places;  // values of chains that have some in common
    for (const Timed& form : forms)
      for (Chain place : form.v.chains) {
        std::erase_if(places, [&](const Chain& known) {
          if (!overlap(known, place)) return false;
          std::ranges::copy_if(known, std::back_inserter(place),
                               [&](ValueId v) { return std::ranges::find(place, v) == place.end(); });
          return true;
        });
        places.push_back(std::move(place));
      }
    std::vector<Chain> chains;
    for (const Chain& place : places) {
      const auto best = std::ranges::min_element(forms, {}, [&](const Timed& form) { return time_of(form, place); });
      std::ranges::copy_if(best->v.chains, std::back_inserter(chains),
                           [&](const Chain& chain) { return overlap(chain, place); });
    }
    std::ranges::sort(chains);
    return chains;
  }

  static bool overlap(const Chain& a, const Chain& b) {
    return std::ranges::any_of(a, [&](ValueId v) { return std::ranges::find(b, v) != b.end(); });
  }

  /// What the nodes that write these values take together, with the reformats in front of them and behind them.
  static double time_of(const Timed& plan, const Chain& values) {
    const Graph& graph = plan.v.form->graph;
    const auto is_part = [&](int32_t n) {
      return n >= 0 && std::ranges::find(values, graph.nodes[static_cast<size_t>(n)].out(0)) != values.end();
    };
    double ms = 0;
    for (size_t n = 0; n < graph.nodes.size(); ++n)
      if (is_part(static_cast<int32_t>(n))) ms += plan.times.node_ms[n];
    for (const ReformatTime& r : plan.times.reformats)
      if (is_part(r.writer) || is_part(r.reader)) ms += r.ms;
    return ms;
  }

  /// What names the network in the timing cache: all that the choice depends on.
  std::string network_key(const Variant& apart) const {
    std::string text = fmt::format("{}|{}|{}|{}", options_.chains, options_.is_exhaustive(),
                                   options_.memory_limit_bytes, fmt::join(options_.disabled_tactics, ","));
    for (const Tactic* tactic : table_.tactics) text += fmt::format("|{}@{}", tactic->id, tactic->version);
    const Graph& graph = apart.form->graph;
    for (size_t n = 0; n < graph.nodes.size(); ++n) {
      const AllowedTypes& allowed = apart.allowed[n];
      text +=
          fmt::format("\n{}({}){}{}", apart.form->views[n] ? work_key(*apart.form->views[n]) : op_key(graph.nodes[n]),
                      fmt::join(graph.nodes[n].inputs, ","), allowed.f32, allowed.writes_f32);
      for (const DType type : allowed.halves) text += dtype_name(type);
      if (allowed.output_type) text += dtype_name(*allowed.output_type);
    }
    for (const ValueId v : graph.inputs) text += layout_name(graph.value(v).layout);
    for (const ValueId v : graph.outputs) text += fmt::format("{}{}", v, layout_name(graph.value(v).layout));
    const uint64_t sum = checksum64({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
    return fmt::format("network {:016x}|", sum);
  }

  /// The plan that the timing cache keeps, where this machine can run it.
  std::optional<Variant> known_plan(const std::string& key) {
    const auto text = timer_.recall_after(key);
    if (!text) return std::nullopt;
    const auto plan = plan_of_text(*text, table_);
    if (!plan) return std::nullopt;
    auto v = form_of(plan->chains);
    if (!v.ok() || v->form->graph.nodes.size() != plan->choices.size() || !time(*v).ok()) return std::nullopt;
    for (size_t n = 0; n < plan->choices.size(); ++n) {
      const auto c = v->form->space->find(n, plan->choices[n]);
      if (!c) return std::nullopt;
      v->picks[n] = *c;
    }
    return std::move(v).value();
  }

  Result<ChosenPlan> finish(Variant v) {
    ChosenPlan plan;
    plan.choices = choices_of(*v.form->space, v.picks);
    PLANISH_TRY(check_constraints(v.form->graph, plan.choices, options_));
    plan.graph = std::make_unique<Graph>(std::move(v.form->graph));
    plan.facts = std::move(v.form->facts);
    plan.views = std::move(v.form->views);
    for (size_t n = 0; n < plan.views.size(); ++n)
      if (plan.views[n]) plan.views[n]->node = &plan.graph->nodes[n];
    return plan;
  }

  Graph source_;
  const std::vector<Profile>& profiles_;
  const BuildOptions& options_;
  BuildOptions full_clock_;  ///< the options without the tactics that lower the clock
  const Target& target_;
  const TacticTable& table_;
  TacticTimer& timer_;
  Clock::time_point begin_ = Clock::now();
};

bool concrete(const Node& node, const ShapeFacts& facts) {
  const auto known = [&facts](ValueId v) {
    const auto k = static_cast<size_t>(v);
    return v == kNoValue || (facts.shapes[k] && is_static(*facts.shapes[k]) && facts.dtypes[k] != DType::undefined);
  };
  return std::ranges::all_of(node.inputs, known) && std::ranges::all_of(node.outputs, known);
}

/// Nodes whose results shape arithmetic knows at the tuned shapes are not executed there and need no timing.
bool all_known(const Node& node, const ShapeFacts& facts) {
  return std::ranges::all_of(
      node.outputs, [&](ValueId v) { return v == kNoValue || facts.values[static_cast<size_t>(v)].has_value(); });
}

}  // namespace

std::vector<std::optional<NodeView>> tuned_views(const Graph& graph, const ShapeFacts& facts) {
  std::vector<std::optional<NodeView>> views(graph.nodes.size());
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    if (!concrete(node, facts) || all_known(node, facts)) continue;
    NodeView view = node_view(graph, node, facts.dtypes, facts.shapes, facts.values);
    const bool empty =
        std::ranges::all_of(view.outputs, [](const TensorDesc& d) { return !d.present() || d.size() == 0; });
    if (!empty) views[n] = std::move(view);
  }
  return views;
}

const Tactic* reformat_tactic(const NodeView& view, const BuildOptions& options, const Target& target,
                              const TacticTable& table) {
  const auto possible = supporting_tactics(table, view, target);
  const auto allowed = std::ranges::find_if(possible, [&options](const Tactic* t) {
    return std::ranges::none_of(options.disabled_tactics,
                                [t](const std::string& p) { return tactic_matches(t->id, p); });
  });
  if (allowed != possible.end()) return *allowed;
  return possible.empty() ? nullptr : possible.front();
}

Result<ChosenPlan> choose_plan(Graph graph, const std::vector<Profile>& profiles, const BuildOptions& options,
                               const Target& target, const TacticTable& table, TacticTimer& timer) {
  return PlanChooser(std::move(graph), profiles, options, target, table, timer).run();
}

}  // namespace planish
