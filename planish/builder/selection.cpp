#include "planish/builder/selection.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>

#include "planish/tactics/contiguous_parts.h"

namespace planish {
namespace {

constexpr double kImpossible = 1e9;
constexpr std::array kLayouts{Layout::row_major, Layout::channels_last, Layout::blocked8, Layout::blocked16};

class Selector {
 public:
  Selector(const Graph& graph, const std::vector<std::optional<NodeView>>& views, const BuildOptions& options,
           const Target& target, const TacticTable& table, TacticTimer& timer)
      : graph_(graph), views_(views), options_(options), target_(target), table_(table), timer_(timer), uses_(graph) {}

  Result<std::vector<Choice>> run() {
    choices_.resize(graph_.nodes.size());
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      choices_[n] = PLANISH_TRY(enumerate(n));
      if (options_.progress) options_.progress("tactics", n + 1, graph_.nodes.size());
    }
    std::vector<size_t> best;
    double best_ms = std::numeric_limits<double>::max();
    for (const Layout layout : table_.layouts) {
      std::vector<size_t> picked = start_from(layout);
      const double ms = descend(picked);
      if (ms >= best_ms) continue;
      best_ms = ms;
      best = std::move(picked);
    }
    std::vector<Choice> out;
    for (size_t n = 0; n < choices_.size(); ++n) out.push_back(choices_[n][best[n]]);
    return out;
  }

 private:
  bool enabled(const Tactic& tactic) const {
    return std::ranges::none_of(options_.disabled_tactics,
                                [&](const std::string& p) { return tactic.id.starts_with(p); });
  }

  /// Layout pairs worth trying for a node.
  std::vector<std::pair<Layout, Layout>> layout_pairs(const NodeView& view) const {
    const bool flexible =
        std::ranges::any_of(view.inputs, has_layout_choice) || std::ranges::any_of(view.outputs, has_layout_choice);
    if (!flexible) return {{Layout::row_major, Layout::row_major}};
    std::vector<std::pair<Layout, Layout>> pairs;
    for (const Layout l : table_.layouts) pairs.emplace_back(l, l);
    // The first layer of an image network reads three planes; a blocked input would be mostly padding.
    if (view.node->is("FusedConv", "planish"))
      for (const Layout l : table_.layouts)
        if (l != Layout::row_major) pairs.emplace_back(Layout::row_major, l);
    return pairs;
  }

  Result<std::vector<Choice>> enumerate(size_t n) {
    if (!views_[n]) return std::vector<Choice>{Choice{}};
    std::vector<Choice> out;
    std::vector<Refusal> refusals;
    std::vector<std::pair<Layout, Layout>> reference_only;
    for (const auto& [in, layout_out] : layout_pairs(*views_[n])) {
      const NodeView view = with_layouts(*views_[n], in, layout_out);
      if (contiguous_parts(view)) {
        out.push_back(Choice{nullptr, in, layout_out, 0.0, {}});
        continue;
      }
      const std::vector<const Tactic*> tactics = candidates(view, refusals);
      if (tactics.empty()) continue;
      if (is_reference(*tactics.front()))
        reference_only.emplace_back(in, layout_out);
      else
        PLANISH_TRY(add_choice(view, tactics, in, layout_out, refusals, out));
    }
    // A layout that only the reference can do is no choice where a real kernel has another one.
    if (out.empty() || options_.optimization_level >= 5)
      for (const auto& [in, layout_out] : reference_only) {
        const NodeView view = with_layouts(*views_[n], in, layout_out);
        PLANISH_TRY(add_choice(view, candidates(view, refusals), in, layout_out, refusals, out));
      }
    if (out.empty()) return no_tactic_error(*views_[n], refusals);
    return out;
  }

  static bool is_reference(const Tactic& tactic) { return tactic.ops.empty(); }

  /// Tactics worth timing for the view. The reference is an oracle: only when nothing else accepts, or at level 5.
  std::vector<const Tactic*> candidates(const NodeView& view, std::vector<Refusal>& refusals) const {
    std::vector<const Tactic*> tactics = supporting_tactics(table_, view, target_, &refusals);
    std::erase_if(tactics, [this](const Tactic* t) { return !enabled(*t); });
    if (tactics.size() > 1 && options_.optimization_level < 5 && is_reference(*tactics.back())) tactics.pop_back();
    const int limit = options_.max_tactics > 0 ? options_.max_tactics : (options_.optimization_level <= 1 ? 1 : 64);
    if (static_cast<int>(tactics.size()) > limit) tactics.resize(static_cast<size_t>(limit));
    return tactics;
  }

  Status add_choice(const NodeView& view, const std::vector<const Tactic*>& tactics, Layout in, Layout layout_out,
                    std::vector<Refusal>& refusals, std::vector<Choice>& out) {
    Choice c = PLANISH_TRY(fastest(view, tactics, refusals));
    if (c.tactic == nullptr) return {};
    c.in = in;
    c.out = layout_out;
    out.push_back(std::move(c));
    return {};
  }

  /// The fastest of the tactics; tactic nullptr when none could be timed.
  Result<Choice> fastest(const NodeView& view, const std::vector<const Tactic*>& tactics,
                         std::vector<Refusal>& refusals) {
    Choice best;
    best.time_ms = kImpossible;
    std::vector<Candidate> timed_tactics;
    for (const Tactic* tactic : tactics) {
      double ms = 0;
      if (options_.optimization_level == 0) {
        ms = estimate(view, *tactic);
      } else {
        auto timed = timer_.time(view, *tactic);
        if (!timed.ok()) {
          if (timed.error().code == Code::invalid_argument) return std::move(timed).take_error();
          refusals.push_back({std::string(tactic->id), timed.error().message()});
          continue;
        }
        ms = *timed;
      }
      timed_tactics.push_back({std::string(tactic->id), static_cast<float>(ms)});
      if (ms >= best.time_ms) continue;
      best.time_ms = ms;
      best.tactic = tactic;
    }
    std::ranges::sort(timed_tactics, {}, &Candidate::time_ms);
    best.candidates = std::move(timed_tactics);
    return best;
  }

  /// Level 0 measures nothing: bytes moved at a nominal 10 GB/s, and image layouts that vectorise preferred.
  double estimate(const NodeView& view, const Tactic& tactic) const {
    double bytes = 0;
    for (const TensorDesc& d : view.inputs) bytes += static_cast<double>(d.bytes());
    for (const TensorDesc& d : view.outputs) bytes += static_cast<double>(d.bytes());
    const double rank = static_cast<double>(std::ranges::find(table_.tactics, &tactic) - table_.tactics.begin());
    const bool blocked = !view.outputs.empty() && layout_block(view.outputs[0].layout) > 1;
    return bytes / 1e7 * (blocked ? 1.0 : 1.1) + rank * 1e-6;
  }

  /// Cost of bringing value `v` from one layout to another.
  double reformat_ms(const TensorDesc& desc, Layout from, Layout to) {
    if (from == to || !has_layout_choice(desc)) return 0;
    const auto key = std::tuple(desc.dtype, desc.shape, from, to);
    if (const auto it = reformats_.find(key); it != reformats_.end()) return it->second;
    double& ms = reformats_[key];
    Node node;
    NodeView view = reformat_view(desc, to, node);
    view.inputs[0].layout = from;
    if (contiguous_parts(view)) return ms = 0;
    std::vector<Refusal> refusals;
    auto c = fastest(view, candidates(view, refusals), refusals);
    return ms = c.ok() && c->tactic != nullptr ? c->time_ms : kImpossible;
  }

  Layout produced_layout(ValueId v, const std::vector<size_t>& picked) const {
    const int32_t p = uses_.producer[static_cast<size_t>(v)];
    return p < 0 ? Layout::row_major : choices_[static_cast<size_t>(p)][picked[static_cast<size_t>(p)]].out;
  }

  /// Cost of choice `c` at node `n`, given everybody else's: its own time and the reformats on its edges.
  double local_ms(size_t n, size_t c, const std::vector<size_t>& picked) {
    const Choice& choice = choices_[n][c];
    double ms = choice.time_ms;
    if (!views_[n]) return ms;
    const NodeView& view = *views_[n];
    for (size_t i = 0; i < view.inputs.size(); ++i)
      if (view.inputs[i].present() && !view.is_constant(i))
        ms += reformat_ms(view.inputs[i], produced_layout(graph_.nodes[n].inputs[i], picked), choice.in);
    for (size_t o = 0; o < view.outputs.size(); ++o) {
      if (!view.outputs[o].present()) continue;
      const auto v = static_cast<size_t>(graph_.nodes[n].outputs[o]);
      std::array<bool, kLayouts.size()> wanted{};
      if (uses_.is_output[v]) wanted[static_cast<size_t>(Layout::row_major)] = true;
      for (const int32_t consumer : uses_.consumers[v]) {
        const auto k = static_cast<size_t>(consumer);
        wanted[static_cast<size_t>(choices_[k][picked[k]].in)] = true;
      }
      for (const Layout l : kLayouts)
        if (wanted[static_cast<size_t>(l)]) ms += reformat_ms(view.outputs[o], choice.out, l);
    }
    return ms;
  }

  std::vector<size_t> start_from(Layout layout) const {
    std::vector<size_t> picked(choices_.size(), 0);
    for (size_t n = 0; n < choices_.size(); ++n) {
      double best = std::numeric_limits<double>::max();
      for (size_t c = 0; c < choices_[n].size(); ++c) {
        const Choice& choice = choices_[n][c];
        // Anything in the wanted layout beats everything else; among the rest the fastest.
        const double ms =
            choice.time_ms + (choice.out == layout ? 0.0 : kImpossible) + (choice.in == layout ? 0.0 : kImpossible / 4);
        if (ms >= best) continue;
        best = ms;
        picked[n] = c;
      }
    }
    return picked;
  }

  double total_ms(const std::vector<size_t>& picked) {
    double ms = 0;
    for (size_t n = 0; n < choices_.size(); ++n) {
      // Edges are counted at the producer, inputs of the network at the consumer.
      ms += local_ms(n, picked[n], picked);
      if (!views_[n]) continue;
      for (size_t i = 0; i < views_[n]->inputs.size(); ++i) {
        const ValueId v = graph_.nodes[n].inputs[i];
        if (v == kNoValue || views_[n]->is_constant(i) || uses_.producer[static_cast<size_t>(v)] < 0) continue;
        ms -= reformat_ms(views_[n]->inputs[i], produced_layout(v, picked), choices_[n][picked[n]].in);
      }
    }
    return ms;
  }

  double descend(std::vector<size_t>& picked) {
    constexpr int kMaxSweeps = 20;
    for (int sweep = 0; sweep < kMaxSweeps; ++sweep) {
      bool changed = false;
      for (size_t step = 0; step < choices_.size(); ++step) {
        const size_t n = sweep % 2 == 0 ? step : choices_.size() - 1 - step;
        if (choices_[n].size() < 2) continue;
        size_t best = picked[n];
        double best_ms = local_ms(n, best, picked);
        for (size_t c = 0; c < choices_[n].size(); ++c) {
          if (c == picked[n]) continue;
          const double ms = local_ms(n, c, picked);
          if (ms < best_ms - 1e-9) {
            best_ms = ms;
            best = c;
          }
        }
        changed |= best != picked[n];
        picked[n] = best;
      }
      if (!changed) break;
    }
    return total_ms(picked);
  }

  const Graph& graph_;
  const std::vector<std::optional<NodeView>>& views_;
  const BuildOptions& options_;
  const Target& target_;
  const TacticTable& table_;
  TacticTimer& timer_;
  Uses uses_;
  std::vector<std::vector<Choice>> choices_;
  std::map<std::tuple<DType, Shape, Layout, Layout>, double> reformats_;
};

}  // namespace

Result<std::vector<Choice>> select_tactics(const Graph& graph, const std::vector<std::optional<NodeView>>& views,
                                           const BuildOptions& options, const Target& target, const TacticTable& table,
                                           TacticTimer& timer) {
  return Selector(graph, views, options, target, table, timer).run();
}

}  // namespace planish
