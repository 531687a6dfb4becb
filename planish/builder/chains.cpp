// Chains that are worth trying as one layer: a depthwise convolution with the convolutions of one pixel in front of it
// and behind it, or with one of them; squeeze-and-excite blocks; and a normalisation of rows with the product in front
// of it or behind it.

#include "planish/builder/chains.h"

#include <algorithm>
#include <map>

#include "planish/ops/chain.h"
#include "planish/ops/conv_geometry.h"
#include "planish/passes/edit.h"
#include "planish/tactics/tactic_source.h"

namespace planish {
namespace {

constexpr double kImpossible = 1e9;

/// One node for several. Inputs of the parts in order, without what one of them hands to the next.
Node chain_of(const std::vector<const Node*>& parts) {
  Node whole = fused_node("Chain", "planish", parts);
  const auto step_that_makes = [&parts](ValueId v, size_t before) {
    size_t k = 0;
    while (k < before && parts[k]->out(0) != v) ++k;
    return k;
  };
  for (size_t k = 0; k < parts.size(); ++k)
    for (const ValueId v : parts[k]->inputs)
      if (v != kNoValue && step_that_makes(v, k) == k && std::ranges::find(whole.inputs, v) == whole.inputs.end())
        whole.inputs.push_back(v);
  std::vector<ChainStep> steps;
  for (size_t k = 0; k < parts.size(); ++k) {
    ChainStep step{*parts[k], {}};
    for (const ValueId v : parts[k]->inputs) {
      const size_t made_by = step_that_makes(v, k);
      const auto at = made_by < k ? whole.inputs.size() + made_by
                                  : static_cast<size_t>(std::ranges::find(whole.inputs, v) - whole.inputs.begin());
      step.operands.push_back(v == kNoValue ? -1 : static_cast<int32_t>(at));
    }
    steps.push_back(std::move(step));
  }
  set_chain_steps(whole, steps);
  whole.outputs = parts.back()->outputs;
  return whole;
}

class ChainFinder {
 public:
  ChainFinder(const Graph& graph, const std::vector<std::optional<NodeView>>& views, const std::vector<Choice>& choices,
              const BuildOptions& options, const Target& target, const TacticTable& table, TacticTimer& timer,
              double margin, ChainPreference preference)
      : graph_(graph),
        views_(views),
        choices_(choices),
        options_(options),
        target_(target),
        table_(table),
        timer_(timer),
        margin_(margin),
        preference_(preference),
        uses_(graph) {}

  std::vector<Chain> run() {
    for (int32_t n = 0; n < static_cast<int32_t>(graph_.nodes.size()); ++n) {
      if (is_convolution(n) && is_depthwise(n)) consider(n);
      if (is_float(n, "GlobalAveragePool")) consider_gate(n);
      if (is_float(n, "LayerNormalization") || is_float(n, "RMSNormalization")) consider_norm(n);
    }
    return chosen();
  }

 private:
  struct Candidate {
    std::vector<int32_t> parts;
    double saved_ms = 0;
  };

  /// A node that is computed in f32.
  [[nodiscard]] bool is_float(int32_t n, std::string_view op, std::string_view domain = "") const {
    if (n < 0 || !views_[static_cast<size_t>(n)]) return false;
    return graph_.nodes[static_cast<size_t>(n)].is(op, domain) &&
           choices_[static_cast<size_t>(n)].types == TypePair{} && view(n).inputs[0].dtype == DType::f32;
  }
  /// A convolution that is computed in f32, whatever its window.
  [[nodiscard]] bool is_convolution(int32_t n) const { return is_float(n, "FusedConv", "planish"); }
  [[nodiscard]] const NodeView& view(int32_t n) const { return *views_[static_cast<size_t>(n)]; }
  [[nodiscard]] bool is_depthwise(int32_t n) const {
    const NodeView& v = view(n);
    return v.node->attr_int("group", 1) > 1 && v.inputs[1].rank() == 4 && v.inputs[1].shape[1] == 1;
  }
  [[nodiscard]] bool is_one_pixel(int32_t n) const {
    const NodeView& v = view(n);
    return v.inputs[1].rank() == 4 && is_one_pixel_conv(*v.node, v.inputs[0].shape, v.inputs[1].shape);
  }

  /// Tries the chains around the depthwise convolution `n`.
  void consider(int32_t n) {
    const int32_t maker = uses_.producer[static_cast<size_t>(graph_.nodes[static_cast<size_t>(n)].in(0))];
    const bool in_front =
        is_convolution(maker) && is_one_pixel(maker) && !view(maker).has_input(3) && single_reader(maker) == n;
    const int32_t reader = single_reader(n);
    const bool behind = is_convolution(reader) && is_one_pixel(reader) && !view(n).has_input(3) && reads(reader, n);
    if (in_front && behind) add({maker, n, reader});
    if (in_front) add({maker, n});
    if (behind) add({n, reader});
  }

  /// The same for a squeeze-and-excite block that begins with the mean `n`: with the convolutions in front, or without.
  void consider_gate(int32_t n) {
    const ValueId image = graph_.nodes[static_cast<size_t>(n)].in(0);
    const int32_t squeeze = single_reader(n);
    if (!is_convolution(squeeze) || !is_one_pixel(squeeze) || !reads(squeeze, n)) return;
    const int32_t excite = single_reader(squeeze);
    if (!is_convolution(excite) || !is_one_pixel(excite) || !reads(excite, squeeze)) return;
    const int32_t gate = single_reader(excite);
    if (!is_float(gate, "Mul")) return;
    const Node& product = graph_.nodes[static_cast<size_t>(gate)];
    if (product.in(0) != image && product.in(1) != image) return;
    const int32_t project = single_reader(gate);
    if (!is_convolution(project) || !is_one_pixel(project) || !reads(project, gate)) return;
    add({n, squeeze, excite, gate, project});
    const int32_t maker = uses_.producer[static_cast<size_t>(image)];
    const auto& readers = uses_.consumers[static_cast<size_t>(image)];
    const bool alone = !uses_.is_output[static_cast<size_t>(image)] &&
                       std::ranges::all_of(readers, [&](int32_t r) { return r == n || r == gate; });
    if (!alone || !is_convolution(maker) || !is_depthwise(maker) || view(maker).has_input(3)) return;
    add({maker, n, squeeze, excite, gate, project});
    const int32_t front = uses_.producer[static_cast<size_t>(graph_.nodes[static_cast<size_t>(maker)].in(0))];
    if (is_convolution(front) && is_one_pixel(front) && !view(front).has_input(3) && single_reader(front) == maker)
      add({front, maker, n, squeeze, excite, gate, project});
  }

  /// The same for the normalisation `n` and a product that nobody but it reads, or that alone reads it.
  void consider_norm(int32_t n) {
    constexpr size_t kResidual = 3;
    const auto& outputs = graph_.nodes[static_cast<size_t>(n)].outputs;
    if (std::any_of(outputs.begin() + 1, outputs.end(), [](ValueId v) { return v != kNoValue; })) return;
    const int32_t maker = uses_.producer[static_cast<size_t>(graph_.nodes[static_cast<size_t>(n)].in(0))];
    const int32_t reader = single_reader(n);
    if (is_float(maker, "FusedMatMul", "planish") && single_reader(maker) == n) add({maker, n});
    if (is_float(reader, "FusedMatMul", "planish") && reads(reader, n) &&
        graph_.nodes[static_cast<size_t>(reader)].in(kResidual) != graph_.nodes[static_cast<size_t>(n)].out(0))
      add({n, reader});
  }

  [[nodiscard]] int32_t single_reader(int32_t n) const {
    return uses_.single_consumer(graph_.nodes[static_cast<size_t>(n)].out(0));
  }
  /// True when the first operand of `reader` is the result of `n`.
  [[nodiscard]] bool reads(int32_t reader, int32_t n) const {
    return graph_.nodes[static_cast<size_t>(reader)].in(0) == graph_.nodes[static_cast<size_t>(n)].out(0);
  }

  void add(std::vector<int32_t> parts) {
    if (const auto saved = saved_ms(parts)) candidates_.push_back({std::move(parts), *saved});
  }

  /// Chains that have no part in common: the preferred ones first.
  std::vector<Chain> chosen() {
    const bool by_length = preference_ == ChainPreference::longest;
    std::ranges::stable_sort(candidates_, [by_length](const Candidate& a, const Candidate& b) {
      if (by_length && a.parts.size() != b.parts.size()) return a.parts.size() > b.parts.size();
      return a.saved_ms > b.saved_ms;
    });
    std::vector<bool> taken(graph_.nodes.size(), false);
    std::vector<Chain> chains;
    for (const Candidate& c : candidates_) {
      if (std::ranges::any_of(c.parts, [&](int32_t part) { return taken[static_cast<size_t>(part)]; })) continue;
      Chain& chain = chains.emplace_back();
      for (const int32_t part : c.parts) {
        taken[static_cast<size_t>(part)] = true;
        chain.push_back(graph_.nodes[static_cast<size_t>(part)].out(0));
      }
    }
    std::ranges::sort(chains);
    return chains;
  }

  /// Milliseconds that the chain saves beside its parts as they were chosen; nullopt where it is not worth trying.
  std::optional<double> saved_ms(const std::vector<int32_t>& chain) {
    std::vector<const Node*> parts;
    for (const int32_t part : chain) parts.push_back(&graph_.nodes[static_cast<size_t>(part)]);
    const Node node = chain_of(parts);
    const Choice& first = choices_[static_cast<size_t>(chain.front())];
    const Choice& last = choices_[static_cast<size_t>(chain.back())];
    NodeView whole = view_of(chain, node);
    whole = with_layouts(whole, first.in, last.out);
    double apart = 0;
    for (const int32_t part : chain) apart += choices_[static_cast<size_t>(part)].time_ms;
    double best = kImpossible;
    for (const Tactic* tactic : supporting_tactics(table_, whole, target_)) {
      const bool disabled = std::ranges::any_of(options_.disabled_tactics,
                                                [&](const std::string& p) { return tactic_matches(tactic->id, p); });
      if (tactic->ops.empty() || disabled) continue;
      if (const auto ms = timer_.time(whole, *tactic); ms.ok()) best = std::min(best, *ms);
    }
    if (best >= apart * (1 + margin_)) return std::nullopt;
    return apart - best;
  }

  NodeView view_of(const std::vector<int32_t>& chain, const Node& node) const {
    NodeView whole;
    whole.node = &node;
    whole.outputs = view(chain.back()).outputs;
    for (const ValueId v : node.inputs)
      for (const int32_t part : chain) {
        const auto& inputs = graph_.nodes[static_cast<size_t>(part)].inputs;
        const auto at = static_cast<size_t>(std::ranges::find(inputs, v) - inputs.begin());
        if (at == inputs.size()) continue;
        whole.inputs.push_back(view(part).inputs[at]);
        whole.constants.push_back(view(part).constants[at]);
        whole.constant_inputs.push_back(view(part).is_constant(at));
        break;
      }
    return whole;
  }

  const Graph& graph_;
  const std::vector<std::optional<NodeView>>& views_;
  const std::vector<Choice>& choices_;
  const BuildOptions& options_;
  const Target& target_;
  const TacticTable& table_;
  TacticTimer& timer_;
  double margin_;
  ChainPreference preference_;
  Uses uses_;
  std::vector<Candidate> candidates_;
};

}  // namespace

std::vector<Chain> find_chains(const Graph& graph, const std::vector<std::optional<NodeView>>& views,
                               const std::vector<Choice>& choices, const BuildOptions& options, const Target& target,
                               const TacticTable& table, TacticTimer& timer, double margin,
                               ChainPreference preference) {
  if (options.optimization_level == 0 || !options.chains) return {};
  return ChainFinder(graph, views, choices, options, target, table, timer, margin, preference).run();
}

std::optional<Graph> with_chains(const Graph& graph, const std::vector<Chain>& chains) {
  const Uses uses(graph);
  std::vector<bool> taken(graph.nodes.size(), false);
  std::map<size_t, Node> fused;  // by the place of the last part
  for (const Chain& chain : chains) {
    std::vector<const Node*> parts;
    size_t last = 0;
    for (const ValueId v : chain) {
      const bool exists = v >= 0 && static_cast<size_t>(v) < uses.producer.size();
      const int32_t part = exists ? uses.producer[static_cast<size_t>(v)] : -1;
      if (part < 0 || taken[static_cast<size_t>(part)]) return std::nullopt;
      last = static_cast<size_t>(part);
      taken[last] = true;
      parts.push_back(&graph.nodes[last]);
    }
    if (parts.empty()) return std::nullopt;
    fused[last] = chain_of(parts);
  }
  Graph out = graph;
  out.nodes.clear();
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const auto whole = fused.find(n);
    if (whole != fused.end())
      out.nodes.push_back(whole->second);
    else if (!taken[n])
      out.nodes.push_back(graph.nodes[n]);
  }
  return out;
}

}  // namespace planish
