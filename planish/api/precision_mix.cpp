#include "planish/api/precision_mix.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <set>

namespace planish::api {
namespace {

/// A layer counts as slower than its float form beyond this: below lies the noise of timing tactics.
constexpr double kSlower = 1.05;
/// A mix is worth building and running when it takes less than this share of the time, by tuned times.
constexpr double kPromising = 0.99;
/// What whole runs must confirm.
constexpr double kClearlyFaster = 0.97;
/// How often conversions are counted in the mixes that are tried: estimates of them are the weakest part, and groups
/// that are worth it at a multiple are the safest.
constexpr double kConversions[] = {1, 2, 4};
/// Time of converting one element where no conversion of the network tells.
constexpr double kElementMs = 5e-8;
constexpr size_t kNoGroup = SIZE_MAX;

bool is_byte(DType type) { return type == DType::i8 || type == DType::u8; }

/// Layers that the builder or quantisation added: they only change types and layouts.
bool converts(const LayerInfo& layer) { return layer.onnx_nodes.empty(); }

double elements_of(const TensorInfo& tensor) {
  double count = 1;
  for (const int64_t d : tensor.dims) count *= static_cast<double>(std::max<int64_t>(d, 1));
  return count;
}

/// Builds a MixProblem from the joined layers.
class ProblemMaker {
 public:
  ProblemMaker(const LayerProfile& in_float, const LayerProfile& in_int8, const std::vector<std::string>& products)
      : int8_(in_int8), products_(products.begin(), products.end()) {
    groups_ = join_layers(in_float, in_int8);
    std::erase_if(groups_, [](const LayerGroup& g) { return g.onnx_nodes.empty(); });
  }

  MixProblem run() {
    add_groups();
    add_edges();
    return std::move(problem_);
  }

 private:
  void add_groups() {
    group_of_.assign(int8_.layers.size(), kNoGroup);
    for (const LayerGroup& joined : groups_) {
      MixGroup group{.float_ms = joined.first_ms, .int8_ms = joined.second_ms};
      for (const std::string& node : joined.onnx_nodes)
        if (products_.contains(node)) group.products.push_back(node);
      bool bytes = false;
      for (const size_t layer : joined.second) {
        group_of_[layer] = problem_.groups.size();
        bytes = bytes || works_on_bytes(int8_.layers[layer]);
      }
      group.always_float = !bytes;
      problem_.groups.push_back(std::move(group));
    }
    // The world outside: what the network is given and gives back stays as it is.
    problem_.groups.push_back({.always_float = true});
  }

  static bool works_on_bytes(const LayerInfo& layer) {
    for (size_t i = 0; i < layer.inputs.size(); ++i)
      if (is_byte(layer.inputs[i].dtype) && !(i < layer.constant_inputs.size() && layer.constant_inputs[i]))
        return true;
    return std::ranges::any_of(layer.outputs, [](const TensorInfo& t) { return is_byte(t.dtype); });
  }

  void add_edges() {
    std::map<std::string, size_t> maker;
    double ms = 0;
    double elements = 0;
    for (size_t i = 0; i < int8_.layers.size(); ++i) {
      const LayerInfo& layer = int8_.layers[i];
      for (const TensorInfo& t : layer.outputs) maker[t.name] = i;
      if (!changes_type(layer)) continue;
      ms += int8_.layer_ms[i];
      elements += elements_of(layer.outputs[0]);
    }
    element_ms_ = elements > 0 && ms > 0 ? ms / elements : kElementMs;
    for (size_t i = 0; i < int8_.layers.size(); ++i) {
      if (group_of_[i] == kNoGroup) continue;
      const LayerInfo& layer = int8_.layers[i];
      for (size_t k = 0; k < layer.inputs.size(); ++k)
        if (!(k < layer.constant_inputs.size() && layer.constant_inputs[k]) && !layer.inputs[k].name.empty())
          add_edge(layer.inputs[k], group_of_[i], maker);
    }
  }

  static bool changes_type(const LayerInfo& layer) {
    return converts(layer) && layer.inputs.size() >= 1 && layer.outputs.size() == 1 &&
           is_byte(layer.inputs[0].dtype) != is_byte(layer.outputs[0].dtype);
  }

  /// The edge that ends with `tensor`, back through what only converts. A conversion that is there was measured.
  void add_edge(const TensorInfo& tensor, size_t to, const std::map<std::string, size_t>& maker) {
    std::optional<double> measured;
    const TensorInfo* t = &tensor;
    auto it = maker.find(t->name);
    while (it != maker.end() && converts(int8_.layers[it->second]) && !int8_.layers[it->second].inputs.empty()) {
      if (changes_type(int8_.layers[it->second])) measured = measured.value_or(0) + int8_.layer_ms[it->second];
      t = &int8_.layers[it->second].inputs[0];
      it = maker.find(t->name);
    }
    const size_t from = it == maker.end() ? problem_.groups.size() - 1 : group_of_[it->second];
    if (from == kNoGroup || from == to) return;
    problem_.edges.push_back({from, to, measured.value_or(elements_of(tensor) * element_ms_)});
  }

  const LayerProfile& int8_;
  std::set<std::string> products_;
  std::vector<LayerGroup> groups_;
  std::vector<size_t> group_of_;  ///< by layer of the INT8 form
  double element_ms_ = kElementMs;
  MixProblem problem_;
};

/// Maximum flow by shortest augmenting paths (Edmonds and Karp, 1972); networks have a few hundred groups.
class MinimumCut {
 public:
  explicit MinimumCut(size_t nodes) : out_(nodes) {}
  void add(size_t from, size_t to, double capacity) {
    if (capacity <= 0) return;
    out_[from].push_back(arcs_.size());
    arcs_.push_back({to, capacity});
    out_[to].push_back(arcs_.size());
    arcs_.push_back({from, 0});
  }
  /// Nodes on the side of `source`.
  std::vector<bool> side_of(size_t source, size_t sink) {
    for (;;) {
      const std::vector<size_t> by = paths(source);
      if (by[sink] == kNone) break;
      double most = std::numeric_limits<double>::infinity();
      for (size_t n = sink; n != source; n = arcs_[by[n] ^ 1U].to) most = std::min(most, arcs_[by[n]].left);
      for (size_t n = sink; n != source; n = arcs_[by[n] ^ 1U].to) {
        arcs_[by[n]].left -= most;
        arcs_[by[n] ^ 1U].left += most;
      }
    }
    const std::vector<size_t> by = paths(source);
    std::vector<bool> side(out_.size());
    for (size_t n = 0; n < side.size(); ++n) side[n] = n == source || by[n] != kNone;
    return side;
  }

 private:
  struct Arc {
    size_t to = 0;
    double left = 0;
  };
  static constexpr size_t kNone = SIZE_MAX;
  static constexpr double kNothing = 1e-12;

  /// The arc by which every node is reached first.
  std::vector<size_t> paths(size_t source) const {
    std::vector<size_t> by(out_.size(), kNone);
    std::deque<size_t> next{source};
    while (!next.empty()) {
      const size_t n = next.front();
      next.pop_front();
      for (const size_t a : out_[n]) {
        const size_t to = arcs_[a].to;
        if (to == source || by[to] != kNone || arcs_[a].left <= kNothing) continue;
        by[to] = a;
        next.push_back(to);
      }
    }
    return by;
  }

  std::vector<std::vector<size_t>> out_;
  std::vector<Arc> arcs_;
};

double total_ms(const LayerProfile& profile) {
  double total = 0;
  for (const double ms : profile.layer_ms) total += ms;
  return total;
}

double at_share(std::vector<double>& times, double share) {
  std::ranges::sort(times);
  return times[static_cast<size_t>(share * static_cast<double>(times.size() - 1))];
}

}  // namespace

MixProblem mix_problem(const LayerProfile& in_float, const LayerProfile& in_int8,
                       const std::vector<std::string>& products) {
  return ProblemMaker(in_float, in_int8, products).run();
}

std::vector<bool> float_groups(const MixProblem& problem, double conversions) {
  const size_t count = problem.groups.size();
  const size_t int8 = count;
  const size_t in_float = count + 1;
  constexpr double kForced = 1e9;
  MinimumCut cut(count + 2);
  for (size_t g = 0; g < count; ++g) {
    const MixGroup& group = problem.groups[g];
    // A group is cut from the side that it is not on: being on the float side costs what it takes in float.
    cut.add(int8, g, group.products.empty() ? group.float_ms : group.float_ms * kSlower);
    cut.add(g, in_float, group.always_float ? kForced : group.int8_ms);
  }
  for (const MixEdge& edge : problem.edges) {
    cut.add(edge.from, edge.to, edge.convert_ms * conversions);
    cut.add(edge.to, edge.from, edge.convert_ms * conversions);
  }
  std::vector<bool> side = cut.side_of(int8, in_float);
  std::vector<bool> out(count);
  for (size_t g = 0; g < count; ++g) out[g] = !side[g];
  return out;
}

bool clearly_faster(std::vector<double> candidate, std::vector<double> base) {
  if (candidate.empty() || base.empty()) return false;
  return at_share(candidate, 0.5) < kClearlyFaster * at_share(base, 0.5) &&
         at_share(candidate, 0.25) < kClearlyFaster * at_share(base, 0.25);
}

Result<MixChoice> choose_mix(const LayerProfile& in_float, const LayerProfile& in_int8,
                             const std::vector<std::string>& products, MixBench& bench) {
  MixChoice choice;
  choice.report.compared = true;
  const MixProblem problem = mix_problem(in_float, in_int8, products);
  for (const MixGroup& group : problem.groups)
    if (group.int8_ms > kSlower * group.float_ms)
      choice.report.slower.insert(choice.report.slower.end(), group.products.begin(), group.products.end());
  const auto nodes_of = [&problem](const std::vector<bool>& chosen) {
    std::vector<std::string> nodes;
    for (size_t g = 0; g < chosen.size(); ++g)
      if (chosen[g]) nodes.insert(nodes.end(), problem.groups[g].products.begin(), problem.groups[g].products.end());
    return nodes;
  };
  std::vector<std::vector<std::string>> mixes;
  // Where float wins as a whole, the sum of small estimates need not find it.
  if (total_ms(in_float) < kPromising * total_ms(in_int8)) mixes.push_back(products);
  for (const double conversions : kConversions) mixes.push_back(nodes_of(float_groups(problem, conversions)));
  double best_ms = kPromising * total_ms(in_int8);
  std::vector<std::string> best;
  std::set<std::vector<std::string>> seen;
  size_t built = 0;
  for (const auto& nodes : mixes) {
    if (nodes.empty() || built == std::size(kConversions) || !seen.insert(nodes).second) continue;
    const double ms = total_ms(PLANISH_TRY(bench.build(nodes)));
    ++built;
    if (!(ms < best_ms)) continue;
    best_ms = ms;
    best = nodes;
    choice.form = built;
  }
  if (choice.form == 0) return choice;
  auto [all_int8, mixed] = PLANISH_TRY(bench.race(choice.form));
  if (!all_int8.empty() && !mixed.empty()) {
    choice.report.int8_ms = at_share(all_int8, 0.5);
    choice.report.mix_ms = at_share(mixed, 0.5);
  }
  if (clearly_faster(mixed, all_int8))
    choice.report.in_float = std::move(best);
  else
    choice.form = 0;
  return choice;
}

}  // namespace planish::api
