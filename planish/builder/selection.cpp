#include "planish/builder/selection.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>
#include <limits>
#include <map>
#include <span>

#include "planish/base/isa.h"
#include "planish/builder/tactic_order.h"
#include "planish/tactics/contiguous_parts.h"
#include "planish/tactics/tactic_source.h"

namespace planish {
namespace {

constexpr double kImpossible = 1e9;
constexpr int kDefaultLevel = 3;
constexpr std::array kHalves{DType::f16, DType::bf16};

/// Tactics within this factor of the fastest for their layouts stay choices of their node: alone each was timed with
/// its operands in the caches, and at another moment.
constexpr double kClose = 1.5;

bool is_product(const Node& node) {
  return node.domain == "planish" && (node.op == "FusedConv" || node.op == "FusedConvTranspose" ||
                                      node.op == "FusedMatMul" || node.op == "WeightOnlyMatMul");
}

class Selector final : public PlanSpace {
 public:
  Selector(const Graph& graph, const std::vector<std::optional<NodeView>>& views,
           const std::vector<AllowedTypes>& allowed, const BuildOptions& options, const Target& target,
           const TacticTable& table, TacticTimer& timer)
      : graph_(graph),
        views_(views),
        allowed_(allowed),
        options_(options),
        target_(target),
        table_(table),
        timer_(timer),
        order_(timer),
        uses_(graph) {}

  Status time_all() {
    choices_.resize(graph_.nodes.size());
    for (const DType half : kHalves)
      if (computes_products(half)) native_.push_back(half);
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      choices_[n] = PLANISH_TRY(enumerate(n));
      for (Choice& choice : choices_[n]) choice.node = static_cast<int32_t>(n);
      if (options_.progress) options_.progress("tactics", n + 1, graph_.nodes.size());
    }
    if (options_.optimization_level > 0) order_.save();
    return {};
  }

  [[nodiscard]] const std::vector<std::vector<Choice>>& choices() const override { return choices_; }

  Picks cheapest(const std::vector<std::vector<double>>& ms, const Picks& start) override {
    std::vector<Picks> plans;
    for (LocalOptimum& plan : local_optima(ms)) plans.push_back(std::move(plan.picks));
    ms_ = &ms;
    if (!start.empty()) {
      plans.insert(plans.begin(), start);
      descend(plans.front());
    }
    const auto best = std::ranges::min_element(plans, {}, [this](Picks& picks) { return total_ms(picks); });
    return std::move(*best);
  }

  double cost_ms(const std::vector<std::vector<double>>& ms, Picks picks) override {
    ms_ = &ms;
    return total_ms(picks);
  }

  std::vector<LocalOptimum> local_optima(const std::vector<std::vector<double>>& ms) override {
    ms_ = &ms;
    std::vector<LocalOptimum> plans;
    std::vector<DType> types{DType::f32};
    types.insert(types.end(), native_.begin(), native_.end());
    for (const DType type : types)
      for (const Layout layout : table_.layouts)
        descend(plans.emplace_back(LocalOptimum{{layout, type}, start_from(layout, type)}).picks);
    return plans;
  }

  std::optional<size_t> find(size_t n, const Choice& wanted) override {
    std::vector<Choice>& choices = choices_[n];
    const auto like = [&wanted](const Choice& c) {
      return c.tactic == wanted.tactic && c.in == wanted.in && c.out == wanted.out && c.types == wanted.types;
    };
    if (const auto it = std::ranges::find_if(choices, like); it != choices.end())
      return static_cast<size_t>(it - choices.begin());
    // Where the node has no choice in that type, the options do not allow it.
    const auto same_types = std::ranges::find(choices, wanted.types, &Choice::types);
    if (!views_[n] || wanted.tactic == nullptr || same_types == choices.end() || !enabled(*wanted.tactic))
      return std::nullopt;
    const NodeView typed = wanted.types == TypePair{} ? *views_[n] : typed_view(*views_[n], wanted.types);
    const NodeView view = with_layouts(typed, wanted.in, wanted.out);
    if (contiguous_parts(view) || !tactic_takes(*wanted.tactic, *view.node) || wanted.tactic->supports(view, target_))
      return std::nullopt;
    const auto ms = timer_.time(view, *wanted.tactic);
    if (!ms.ok()) return std::nullopt;
    Choice choice = *same_types;
    choice.tactic = wanted.tactic;
    choice.in = wanted.in;
    choice.out = wanted.out;
    choice.time_ms = *ms;
    choice.candidates = {{std::string(wanted.tactic->id), static_cast<float>(*ms)}};
    choices.push_back(std::move(choice));
    return choices.size() - 1;
  }

  void set_reformat_ms(const FormChange& change, double ms) override { reformats_[change] = ms; }

 private:
  bool enabled(const Tactic& tactic) const {
    return std::ranges::none_of(options_.disabled_tactics,
                                [&](const std::string& p) { return tactic_matches(tactic.id, p); });
  }

  /// False when no allowed tactic changes the layout of an image: then everything stays row-major.
  bool reformats_exist() const {
    if (options_.disabled_tactics.empty()) return true;
    Node node;
    const NodeView view = reformat_view({DType::f32, {1, 16, 8, 8}, Layout::row_major}, Layout::channels_last, node);
    return std::ranges::any_of(supporting_tactics(table_, view, target_),
                               [this](const Tactic* t) { return enabled(*t); });
  }

  /// Layout pairs worth trying for a node.
  std::vector<std::pair<Layout, Layout>> layout_pairs(const NodeView& view) const {
    const bool flexible =
        std::ranges::any_of(view.inputs, has_layout_choice) || std::ranges::any_of(view.outputs, has_layout_choice);
    if (!flexible || !reformats_exist()) return {{Layout::row_major, Layout::row_major}};
    std::vector<std::pair<Layout, Layout>> pairs;
    for (const Layout l : table_.layouts) pairs.emplace_back(l, l);
    // A Transpose between them costs nothing: what changes is the name of each dimension.
    const bool knows_channels_last =
        std::find(table_.layouts.begin(), table_.layouts.end(), Layout::channels_last) != table_.layouts.end();
    if (view.node->is("Transpose") && knows_channels_last) {
      pairs.emplace_back(Layout::channels_last, Layout::row_major);
      pairs.emplace_back(Layout::row_major, Layout::channels_last);
    }
    // A picture becomes bytes and pixels in one pass.
    if (view.node->is("Pointwise", "planish") && knows_channels_last && dtype_bits(view.outputs[0].dtype) == 8 &&
        view.inputs[0].rank() == 4 && view.inputs[0].shape[1] == 3)
      pairs.emplace_back(Layout::row_major, Layout::channels_last);
    // The first layer of an image network reads three planes; a blocked input would be mostly padding.
    if (view.node->is("FusedConv", "planish"))
      for (const Layout l : table_.layouts)
        if (l != Layout::row_major) pairs.emplace_back(Layout::row_major, l);
    // Changing the layout on the way is rarely as good as before or behind the layer.
    if (options_.is_exhaustive() && is_product(*view.node))
      for (const Layout in : table_.layouts)
        for (const Layout out : table_.layouts)
          if (in != out && in != Layout::row_major) pairs.emplace_back(in, out);
    return pairs;
  }

  /// The view in other types; its node and constants live as long as the selector.
  NodeView typed_view(const NodeView& view, TypePair types) {
    typed_nodes_.emplace_back();
    return with_types(view, types, typed_nodes_.back(), [this](const Tensor& constant, DType type) {
      Tensor& converted = converted_[{constant.raw(), type}];
      if (!converted.defined()) converted = constant.cast(type);
      return &converted;
    });
  }

  /// True when a tactic other than the reference multiplies in that type. Without one nothing is gained by it.
  bool computes_products(DType half) {
    for (size_t n = 0; n < views_.size(); ++n) {
      if (!views_[n] || !is_product(graph_.nodes[n])) continue;
      if (std::ranges::find(allowed_[n].halves, half) == allowed_[n].halves.end()) continue;
      if (type_pairs(*views_[n], half).empty()) continue;
      const NodeView typed = typed_view(*views_[n], {half, half});
      for (const auto& [in, out] : layout_pairs(typed)) {
        std::vector<Refusal> refusals;
        const auto tactics = candidates(with_layouts(typed, in, out), refusals);
        if (!tactics.empty() && !is_reference(*tactics.front())) return true;
      }
    }
    return false;
  }

  /// Choices in the types that the node may use besides f32.
  Status enumerate_halves(size_t n, std::vector<Choice>& out) {
    std::vector<Refusal> refusals;
    double best_ms = kImpossible;
    for (const DType half : allowed_[n].halves) {
      if (std::ranges::find(native_, half) == native_.end()) continue;
      for (const TypePair types : type_pairs(*views_[n], half)) {
        if (allowed_[n].writes_f32 && types.out != DType::f32) continue;
        const NodeView typed = typed_view(*views_[n], types);
        for (const auto& [in, layout_out] : layout_pairs(typed)) {
          const NodeView view = with_layouts(typed, in, layout_out);
          const size_t before = out.size();
          if (contiguous_parts(view)) {
            out.push_back(Choice{nullptr, in, layout_out, types, {}, 0.0, 0.0, {}});
            continue;
          }
          const auto tactics = candidates(view, refusals);
          if (tactics.empty() || is_reference(*tactics.front())) continue;
          PLANISH_TRY(add_choice(view, tactics, in, layout_out, refusals, out, best_ms));
          for (size_t c = before; c < out.size(); ++c) out[c].types = types;
        }
      }
    }
    return {};
  }

  Result<std::vector<Choice>> enumerate(size_t n) {
    if (!views_[n]) return std::vector<Choice>{Choice{}};
    std::vector<Choice> narrow;
    PLANISH_TRY(enumerate_halves(n, narrow));
    std::vector<Choice> all;
    if (narrow.empty() || allowed_[n].f32) all = PLANISH_TRY(enumerate_f32(n));
    std::vector<DType> tried;
    for (const Choice& c : narrow) tried.push_back(c.types.in == DType::f32 ? c.types.out : c.types.in);
    for (Choice& c : all) c.halves_tried = tried;
    if (!all.empty()) {
      const double f32_ms = std::ranges::min_element(all, {}, &Choice::time_ms)->time_ms;
      for (Choice& c : narrow) c.saved_ms = f32_ms - c.time_ms;
    }
    all.insert(all.end(), narrow.begin(), narrow.end());
    if (const auto wanted = allowed_[n].output_type) {
      const auto other = [&wanted](const Choice& c) { return c.types.out != *wanted; };
      if (!std::ranges::all_of(all, other)) std::erase_if(all, other);
    }
    return all;
  }

  /// What may be timed for a node in one pair of layouts.
  struct Work {
    Layout in;
    Layout out;
    NodeView view;
    std::vector<const Tactic*> tactics;
    double ratio = 1;  ///< what the order knows of the best of them
  };

  Result<std::vector<Choice>> enumerate_f32(size_t n) {
    std::vector<Choice> out;
    std::vector<Refusal> refusals;
    std::vector<std::pair<Layout, Layout>> reference_only;
    std::vector<Work> work;
    over_limit_.reset();
    missing_.reset();
    for (const auto& [in, layout_out] : layout_pairs(*views_[n])) {
      NodeView view = with_layouts(*views_[n], in, layout_out);
      if (contiguous_parts(view)) {
        out.push_back(Choice{nullptr, in, layout_out, {}, {}, 0.0, 0.0, {}});
        continue;
      }
      std::vector<const Tactic*> tactics = candidates(view, refusals);
      if (tactics.empty()) continue;
      if (is_reference(*tactics.front()))
        reference_only.emplace_back(in, layout_out);
      else
        work.push_back({in, layout_out, std::move(view), std::move(tactics)});
    }
    if (prunes()) sort_by_order(work);
    double best_ms = kImpossible;
    const size_t first = out.size();
    for (const Work& w : work) PLANISH_TRY(add_choice(w.view, w.tactics, w.in, w.out, refusals, out, best_ms));
    for (const Work& w : work) learn(w, std::span(out).subspan(first), best_ms);
    // A layout that only the reference can do is no choice where a real kernel has another one.
    if (out.empty() || options_.is_exhaustive())
      for (const auto& [in, layout_out] : reference_only) {
        const NodeView view = with_layouts(*views_[n], in, layout_out);
        PLANISH_TRY(add_choice(view, candidates(view, refusals), in, layout_out, refusals, out, best_ms));
      }
    if (!out.empty()) return out;
    if (missing_) return *missing_;
    // What the user can change, rather than what the other tactics do not compute.
    if (over_limit_) {
      if (over_limit_->node.empty()) over_limit_->node = views_[n]->node->name;
      return *over_limit_;
    }
    return no_tactic_error(*views_[n], refusals);
  }

  /// Levels above the default time everything thoroughly.
  [[nodiscard]] bool prunes() const { return options_.optimization_level <= kDefaultLevel; }

  /// What is expected to win comes first, so that the others can be given up early.
  void sort_by_order(std::vector<Work>& work) {
    for (Work& w : work) {
      std::ranges::stable_sort(w.tactics, {}, [&](const Tactic* t) { return order_.ratio(w.view, *t); });
      w.ratio = order_.ratio(w.view, *w.tactics.front());
    }
    std::ranges::stable_sort(work, {}, &Work::ratio);
  }

  void learn(const Work& work, std::span<const Choice> choices, double best_ms) {
    for (const Choice& choice : choices) {
      if (choice.in != work.in || choice.out != work.out || choice.candidates.empty() || choice.tactic == nullptr ||
          choice.tactic->id != choice.candidates[0].tactic)
        continue;
      for (const Candidate& timed : choice.candidates)
        for (const Tactic* tactic : work.tactics)
          if (tactic->id == timed.tactic) order_.learn(work.view, *tactic, timed.time_ms, best_ms);
    }
  }

  /// More than changing the layouts of the node's activations can take: what loses by more is of no use in any network.
  static double generous_reformats_ms(const NodeView& view) {
    constexpr double kBytesPerMs = 2e6;
    constexpr double kStartMs = 0.02;
    double bytes = 0;
    for (size_t i = 0; i < view.inputs.size(); ++i)
      if (!view.is_constant(i)) bytes += static_cast<double>(view.inputs[i].bytes());
    for (const TensorDesc& d : view.outputs) bytes += static_cast<double>(d.bytes());
    return kStartMs + bytes / kBytesPerMs;
  }

  static bool is_reference(const Tactic& tactic) { return tactic.ops.empty(); }

  /// Tactics worth timing for the view. The reference is an oracle: only when nothing else accepts, or at level 5.
  std::vector<const Tactic*> candidates(const NodeView& view, std::vector<Refusal>& refusals) const {
    std::vector<const Tactic*> tactics = supporting_tactics(table_, view, target_, &refusals);
    std::erase_if(tactics, [this](const Tactic* t) { return !enabled(*t); });
    if (tactics.size() > 1 && !options_.is_exhaustive() && is_reference(*tactics.back())) tactics.pop_back();
    const int limit = options_.max_tactics > 0 ? options_.max_tactics : (options_.optimization_level <= 1 ? 1 : 64);
    if (static_cast<int>(tactics.size()) > limit) tactics.resize(static_cast<size_t>(limit));
    return tactics;
  }

  Status add_choice(const NodeView& view, const std::vector<const Tactic*>& tactics, Layout in, Layout layout_out,
                    std::vector<Refusal>& refusals, std::vector<Choice>& out, double& node_ms) {
    Choice c = PLANISH_TRY(fastest(view, tactics, refusals, node_ms));
    if (c.tactic == nullptr) return {};
    c.in = in;
    c.out = layout_out;
    out.push_back(c);
    if (!options_.runs_in_place()) return {};
    for (const Candidate& timed : c.candidates) {
      const auto other = std::ranges::find(tactics, timed.tactic, &Tactic::id);
      if (other == tactics.end() || *other == c.tactic || timed.time_ms > kClose * c.time_ms) continue;
      Choice close = c;
      close.tactic = *other;
      close.time_ms = timed.time_ms;
      out.push_back(std::move(close));
    }
    return {};
  }

  /// The fastest of the tactics; tactic nullptr when none could be timed or none is worth it. `node_ms` is the best
  /// time of the node in any layout.
  Result<Choice> fastest(const NodeView& view, const std::vector<const Tactic*>& tactics,
                         std::vector<Refusal>& refusals, double& node_ms) {
    Choice best;
    best.time_ms = kImpossible;
    std::vector<Candidate> timed_tactics;
    for (const Tactic* tactic : tactics) {
      double ms = 0;
      if (options_.optimization_level == 0) {
        ms = estimate(view, *tactic);
      } else {
        const double to_beat = prunes() ? std::min(best.time_ms, node_ms + generous_reformats_ms(view)) : kImpossible;
        // What no tactic of the node was timed for yet may be all that runs it.
        if (prunes() && node_ms < kImpossible && order_.is_hopeless(view, *tactic, node_ms, to_beat)) continue;
        auto timed = timer_.time(view, *tactic, to_beat);
        // Made-up values may take a branch that does not fit these shapes, which real ones never do.
        const bool untimed = !timed.ok() && timed.error().code != Code::out_of_memory &&
                             timed.error().code != Code::invalid_argument && is_reference(*tactic) &&
                             view.node->has_bodies();
        if (untimed) timed = estimate(view, *tactic);
        if (!timed.ok()) {
          if (timed.error().code == Code::invalid_argument) {
            if (!prunes()) return std::move(timed).take_error();
            // Another build may have left it out. It matters only where the cache knows no way to run the node.
            missing_ = std::move(timed).take_error();
            continue;
          }
          if (timed.error().code == Code::out_of_memory) over_limit_ = timed.error();
          refusals.push_back({std::string(tactic->id), timed.error().message()});
          continue;
        }
        ms = *timed;
      }
      timed_tactics.push_back({std::string(tactic->id), static_cast<float>(ms)});
      node_ms = std::min(node_ms, ms);
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

  /// A reformat is timed again and again with its tensors where its own threads left them. In a network other threads
  /// wrote what it reads and read what it writes, so that what the second-level caches hold crosses between them.
  [[nodiscard]] double crossing_ms(const NodeView& view) const {
    constexpr double kBytesPerMs = 5e7;
    const double threads = std::max(target_.threads, 1);
    const double cached = threads * static_cast<double>(cpu_features().l2_bytes);
    const auto bytes = static_cast<double>(view.inputs[0].bytes() + view.outputs[0].bytes());
    return std::min(bytes, cached) * (1.0 - 1.0 / threads) / kBytesPerMs;
  }

  /// Cost of bringing a tensor from one form to another.
  double reformat_ms(const TensorDesc& desc, Form from, Form to) {
    if (from == to) return 0;
    const FormChange key{desc.shape, from, to};
    if (const auto it = reformats_.find(key); it != reformats_.end()) return it->second;
    double& ms = reformats_[key];
    Node node;
    const NodeView view = reformat_view({from.type, desc.shape, from.layout}, to.layout, node, to.type);
    if (contiguous_parts(view)) return ms = 0;
    std::vector<Refusal> refusals;
    double best_ms = kImpossible;
    auto c = fastest(view, candidates(view, refusals), refusals, best_ms);
    return ms = c.ok() && c->tactic != nullptr ? c->time_ms + crossing_ms(view) : kImpossible;
  }

  static Form form(const TensorDesc& desc, Layout layout, DType type) {
    return {has_layout_choice(desc) ? layout : Layout::row_major, type};
  }

  /// How choice `c` of node `n` wants to read its input `i`.
  Form wanted_form(size_t n, size_t c, size_t i) const {
    const Choice& choice = choices_[n][c];
    return form(views_[n]->inputs[i], choice.in, input_type(*views_[n], i, choice.types));
  }

  /// How value `v` of the given description is written.
  Form produced_form(ValueId v, const TensorDesc& desc, const std::vector<size_t>& picked) const {
    const int32_t p = uses_.producer[static_cast<size_t>(v)];
    if (p < 0) return {graph_.value(v).layout, desc.dtype};
    if (!views_[static_cast<size_t>(p)]) return {Layout::row_major, desc.dtype};
    const auto n = static_cast<size_t>(p);
    const Choice& choice = choices_[n][picked[n]];
    return form(desc, choice.out, desc.dtype == DType::f32 ? output_type(*views_[n], 0, choice.types) : desc.dtype);
  }

  /// Forms in which others read value `v`, each once.
  std::vector<Form> wanted_forms(ValueId v, const TensorDesc& desc, const std::vector<size_t>& picked) const {
    std::vector<Form> wanted;
    const auto add = [&wanted](Form f) {
      if (std::ranges::find(wanted, f) == wanted.end()) wanted.push_back(f);
    };
    if (uses_.is_output[static_cast<size_t>(v)] && !options_.outputs_as_made) add({graph_.value(v).layout, desc.dtype});
    for (const int32_t consumer : uses_.consumers[static_cast<size_t>(v)]) {
      const auto k = static_cast<size_t>(consumer);
      if (!views_[k]) {
        add({Layout::row_major, desc.dtype});
        continue;
      }
      const Node& node = graph_.nodes[k];
      for (size_t i = 0; i < node.inputs.size(); ++i)
        if (node.inputs[i] == v) add(wanted_form(k, picked[k], i));
    }
    return wanted;
  }

  /// Cost of choice `c` at node `n`, given everybody else's: its own time and the reformats on its edges.
  double local_ms(size_t n, size_t c, std::vector<size_t>& picked) {
    double ms = (*ms_)[n][c];
    if (!views_[n]) return ms;
    const NodeView& view = *views_[n];
    for (size_t i = 0; i < view.inputs.size(); ++i)
      if (view.inputs[i].present() && !view.is_constant(i))
        ms += reformat_ms(view.inputs[i], produced_form(graph_.nodes[n].inputs[i], view.inputs[i], picked),
                          wanted_form(n, c, i));
    for (size_t o = 0; o < view.outputs.size(); ++o) {
      const TensorDesc& desc = view.outputs[o];
      if (!desc.present()) continue;
      const Choice& choice = choices_[n][c];
      const Form made = form(desc, choice.out, output_type(view, o, choice.types));
      for (const Form f : wanted_forms(graph_.nodes[n].outputs[o], desc, picked)) ms += reformat_ms(desc, made, f);
    }
    return ms;
  }

  std::vector<size_t> start_from(Layout layout, DType type) const {
    std::vector<size_t> picked(choices_.size(), 0);
    for (size_t n = 0; n < choices_.size(); ++n) {
      double best = std::numeric_limits<double>::max();
      for (size_t c = 0; c < choices_[n].size(); ++c) {
        const Choice& choice = choices_[n][c];
        // Anything in the wanted type and layout beats everything else; among the rest the fastest.
        const double ms = (*ms_)[n][c] + (choice.types.in == type ? 0.0 : 4 * kImpossible) +
                          (choice.types.out == type ? 0.0 : 2 * kImpossible) +
                          (choice.out == layout ? 0.0 : kImpossible) + (choice.in == layout ? 0.0 : kImpossible / 4);
        if (ms >= best) continue;
        best = ms;
        picked[n] = c;
      }
    }
    return picked;
  }

  double total_ms(std::vector<size_t>& picked) {
    double ms = 0;
    for (size_t n = 0; n < choices_.size(); ++n) {
      // Edges are counted at the producer, inputs of the network at the consumer.
      ms += local_ms(n, picked[n], picked);
      if (!views_[n]) continue;
      for (size_t i = 0; i < views_[n]->inputs.size(); ++i) {
        const ValueId v = graph_.nodes[n].inputs[i];
        if (v == kNoValue || views_[n]->is_constant(i) || uses_.producer[static_cast<size_t>(v)] < 0) continue;
        if (!views_[n]->inputs[i].present()) continue;
        ms -= reformat_ms(views_[n]->inputs[i], produced_form(v, views_[n]->inputs[i], picked),
                          wanted_form(n, picked[n], i));
      }
    }
    return ms;
  }

  void descend(std::vector<size_t>& picked) {
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
  }

  const Graph& graph_;
  const std::vector<std::optional<NodeView>>& views_;
  const std::vector<AllowedTypes>& allowed_;
  const BuildOptions& options_;
  const Target& target_;
  const TacticTable& table_;
  TacticTimer& timer_;
  TacticOrder order_;
  std::optional<Error> missing_;     ///< a time of the node at hand that --errorOnTimingCacheMiss does not let measure
  std::optional<Error> over_limit_;  ///< a tactic of the node at hand that --memPoolSize keeps out
  Uses uses_;
  std::vector<std::vector<Choice>> choices_;
  std::vector<DType> native_;  ///< 16-bit types that products are computed in here
  std::deque<Node> typed_nodes_;
  std::map<std::pair<const void*, DType>, Tensor> converted_;
  std::map<FormChange, double> reformats_;
  const std::vector<std::vector<double>>* ms_ = nullptr;  ///< what choices cost in the descent at hand
};

}  // namespace

std::vector<std::vector<double>> times_alone(const PlanSpace& space) {
  std::vector<std::vector<double>> ms;
  for (const auto& choices : space.choices()) {
    auto& row = ms.emplace_back();
    for (const Choice& choice : choices) row.push_back(choice.time_ms);
  }
  return ms;
}

std::vector<Choice> choices_of(const PlanSpace& space, const Picks& picks) {
  std::vector<Choice> out;
  for (size_t n = 0; n < picks.size(); ++n) out.push_back(space.choices()[n][picks[n]]);
  return out;
}

Result<std::unique_ptr<PlanSpace>> time_tactics(const Graph& graph, const std::vector<std::optional<NodeView>>& views,
                                                const std::vector<AllowedTypes>& allowed, const BuildOptions& options,
                                                const Target& target, const TacticTable& table, TacticTimer& timer) {
  auto selector = std::make_unique<Selector>(graph, views, allowed, options, target, table, timer);
  PLANISH_TRY(selector->time_all());
  return std::unique_ptr<PlanSpace>(std::move(selector));
}

}  // namespace planish
