// A chain of Reshape, Transpose, Squeeze, Unsqueeze and Flatten becomes the shortest one that means the same: nothing,
// one Reshape, or Reshape - Transpose - Reshape without the parts that change nothing.
//
// The chain is followed from its source with every dimension taken apart into factors ("atoms") as reshapes split
// them. Each dimension of the result is then a run of atoms, and what remains of the chain is their permutation.

#include <algorithm>
#include <list>
#include <numeric>

#include "planish/passes/edit.h"
#include "planish/passes/pass.h"
#include "planish/passes/symbolic_shapes.h"

namespace planish {
namespace {

using Atoms = std::vector<int32_t>;

/// The factors of a source tensor's dimensions and how the dimensions of a view of it consist of them.
class Factors {
 public:
  explicit Factors(const Dims& source) {
    for (size_t i = 0; i < source.size(); ++i) {
      view_.emplace_back();
      if (!source[i].is(1)) view_.back().push_back(add(source[i], order_.end(), i));
    }
  }

  bool transpose(const std::vector<int64_t>& perm) {
    if (perm.size() != view_.size()) return false;
    std::vector<Atoms> moved;
    for (const int64_t p : perm) {
      if (p < 0 || p >= static_cast<int64_t>(view_.size())) return false;
      moved.push_back(view_[static_cast<size_t>(p)]);
    }
    view_ = std::move(moved);
    return true;
  }

  /// Regroups the atoms into `target`; at most one of its dimensions may be one that no atom explains.
  bool reshape(const Dims& target) {
    Atoms left;
    for (const Atoms& a : view_) left.insert(left.end(), a.begin(), a.end());
    std::vector<Atoms> groups(target.size());
    size_t front = 0;
    while (front < target.size() && take(target[front], true, left, groups[front])) ++front;
    size_t back = target.size();
    while (back > front + 1 && take(target[back - 1], false, left, groups[back - 1])) --back;
    if (front == target.size()) {
      view_ = std::move(groups);
      return left.empty();
    }
    if (back != front + 1) return false;
    // The one dimension that is left is everything that is left, which must not contradict what is known of it.
    if (target[front].known && product(left).known && !product(left).same(target[front])) return false;
    if (target[front].known && !product(left).known) return false;
    groups[front] = left;
    view_ = std::move(groups);
    return true;
  }

  [[nodiscard]] Dim product(const Atoms& atoms) const {
    Dim out = Dim::of(1);
    for (const int32_t a : atoms) {
      const Dim& d = sizes_[static_cast<size_t>(a)];
      if (out.is(1))
        out = d;
      else if (out.known && d.known)
        out.value *= d.value;
      else
        return {};
    }
    return out;
  }

  [[nodiscard]] const std::vector<Atoms>& view() const { return view_; }
  /// Dimension of the source that an atom is part of.
  [[nodiscard]] size_t source_dim(int32_t atom) const { return source_dims_[static_cast<size_t>(atom)]; }
  /// Atoms in the order of the source.
  [[nodiscard]] Atoms order() const { return {order_.begin(), order_.end()}; }

 private:
  int32_t add(const Dim& d, std::list<int32_t>::iterator before, size_t source_dim) {
    sizes_.push_back(d);
    source_dims_.push_back(source_dim);
    order_.insert(before, static_cast<int32_t>(sizes_.size() - 1));
    return static_cast<int32_t>(sizes_.size() - 1);
  }

  /// Moves atoms of product `want` from one end of `left` to `group`, splitting the last one when needed.
  bool take(const Dim& want, bool from_front, Atoms& left, Atoms& group) {
    Dim rest = want;
    Atoms taken;
    while (!rest.is(1)) {
      if (left.empty()) break;
      const int32_t atom = from_front ? left.front() : left.back();
      const Dim size = sizes_[static_cast<size_t>(atom)];
      const bool whole = rest.same(size);
      const bool part = rest.known && size.known && rest.value > 0 && size.value > 0 && rest.value % size.value == 0;
      if (!whole && !part && !split(atom, rest, from_front, left)) break;
      const int32_t used = from_front ? left.front() : left.back();
      left.erase(from_front ? left.begin() : left.end() - 1);
      taken.insert(from_front ? taken.end() : taken.begin(), used);
      const Dim& size_used = sizes_[static_cast<size_t>(used)];
      rest = rest.same(size_used) ? Dim::of(1) : Dim::of(rest.value / size_used.value);
    }
    if (rest.is(1)) {
      group = std::move(taken);
      return true;
    }
    left.insert(from_front ? left.begin() : left.end(), taken.begin(), taken.end());
    return false;
  }

  /// Splits `atom` at one end of `left` so that the end piece has size `want`.
  bool split(int32_t atom, const Dim& want, bool from_front, Atoms& left) {
    const Dim size = sizes_[static_cast<size_t>(atom)];
    if (!want.known || !size.known || want.value <= 1 || size.value % want.value != 0) return false;
    if (splits_ == kMaxSplits) return false;
    ++splits_;
    const int64_t other = size.value / want.value;
    const auto place = std::ranges::find(order_, atom);
    const int32_t inner = add(Dim::of(from_front ? other : want.value), std::next(place), source_dim(atom));
    sizes_[static_cast<size_t>(atom)] = Dim::of(from_front ? want.value : other);
    // An atom stands for both halves wherever it is listed; only `left` is being taken apart.
    const auto at = std::ranges::find(left, atom);
    left.insert(at + 1, inner);
    return true;
  }

  static constexpr int kMaxSplits = 32;
  std::vector<Dim> sizes_;
  std::vector<size_t> source_dims_;
  std::list<int32_t> order_;
  std::vector<Atoms> view_;
  int splits_ = 0;
};

bool is_view(const Node& node) {
  return node.domain.empty() && (node.op == "Reshape" || node.op == "Transpose" || node.op == "Squeeze" ||
                                 node.op == "Unsqueeze" || node.op == "Flatten");
}

/// Nodes of the chain that ends in node `n`, the last one first.
std::vector<int32_t> chain_of(const Edit& edit, int32_t n) {
  constexpr size_t kMaxChain = 16;
  std::vector<int32_t> chain;
  while (n >= 0 && is_view(edit.node(n)) && chain.size() < kMaxChain) {
    chain.push_back(n);
    n = edit.producer(edit.node(n).in(0));
  }
  return chain;
}

struct Step {
  std::vector<int64_t> perm;  ///< of a Transpose; empty for a Reshape
  Dims dims;                  ///< after the step
};

/// Target of a Reshape from `in` to `out`; nullopt when more than one dimension has no number.
std::optional<std::vector<int64_t>> reshape_target(const Dims& in, const Dims& out) {
  std::vector<int64_t> target;
  bool hole = false;
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i].known && out[i].value > 0) {
      target.push_back(out[i].value);
    } else if (i < in.size() && out[i].same(in[i])) {
      target.push_back(0);
    } else if (!hole && !out[i].known) {
      hole = true;
      target.push_back(-1);
    } else {
      return std::nullopt;
    }
  }
  return target;
}

bool equal(const Dims& a, const Dims& b) {
  return std::ranges::equal(a, b, [](const Dim& x, const Dim& y) { return x.same(y); });
}

/// Where runs of atoms that stay together are cut all the same: Reshape - Transpose - Reshape with larger runs has
/// fewer dimensions to move, with smaller ones it may not need one of the reshapes.
struct Cuts {
  bool source = false;  ///< at the dimensions of the source
  bool view = false;    ///< at the dimensions of the view
};

/// Reshape - Transpose - Reshape from `source` to the view, without steps that change nothing.
std::vector<Step> steps_with(const Dims& source, const Factors& factors, Cuts cuts) {
  Atoms result;
  Dims dims;
  std::vector<size_t> group(factors.order().size());
  for (const Atoms& a : factors.view()) {
    result.insert(result.end(), a.begin(), a.end());
    for (const int32_t atom : a) group[static_cast<size_t>(atom)] = dims.size();
    dims.push_back(factors.product(a));
  }
  const Atoms order = factors.order();
  std::vector<Atoms> runs;
  std::vector<int64_t> place(order.size());
  for (size_t i = 0; i < result.size(); ++i) place[static_cast<size_t>(result[i])] = static_cast<int64_t>(i);
  for (const int32_t a : order) {
    const int32_t before = runs.empty() ? a : runs.back().back();
    const bool follows = !runs.empty() && place[static_cast<size_t>(a)] == place[static_cast<size_t>(before)] + 1;
    const bool cut = (cuts.source && factors.source_dim(a) != factors.source_dim(before)) ||
                     (cuts.view && group[static_cast<size_t>(a)] != group[static_cast<size_t>(before)]);
    if (!follows || cut) runs.emplace_back();
    runs.back().push_back(a);
  }
  std::vector<Step> steps;
  if (!std::ranges::equal(order, result)) {
    Dims split;
    for (const Atoms& run : runs) split.push_back(factors.product(run));
    std::vector<int64_t> perm(runs.size());
    std::iota(perm.begin(), perm.end(), 0);
    std::ranges::sort(perm, {}, [&](int64_t r) { return place[static_cast<size_t>(runs[static_cast<size_t>(r)][0])]; });
    Dims moved;
    for (const int64_t p : perm) moved.push_back(split[static_cast<size_t>(p)]);
    if (!equal(split, source)) steps.push_back({{}, split});
    steps.push_back({perm, moved});
  }
  if (!equal(steps.empty() ? source : steps.back().dims, dims)) steps.push_back({{}, dims});
  return steps;
}

std::vector<Step> shortest(const Dims& source, const Factors& factors) {
  std::vector<Step> best = steps_with(source, factors, {});
  for (const Cuts cuts : {Cuts{true, false}, Cuts{false, true}, Cuts{true, true}}) {
    std::vector<Step> other = steps_with(source, factors, cuts);
    if (other.size() < best.size()) best = std::move(other);
  }
  return best;
}

/// The chain's meaning; nullopt when a step cannot be followed.
std::optional<Factors> follow(const Edit& edit, const SymbolicShapes& shapes, const std::vector<int32_t>& chain) {
  const Dims* source = shapes.dims(edit.node(chain.back()).in(0));
  if (source == nullptr) return std::nullopt;
  for (const Dim& d : *source)
    if (d.known ? d.value <= 0 : d.symbol == 0) return std::nullopt;
  Factors factors(*source);
  for (auto it = chain.rbegin(); it != chain.rend(); ++it) {
    const Node& node = edit.node(*it);
    const Dims* dims = shapes.dims(node.out(0));
    if (dims == nullptr) return std::nullopt;
    if (node.op != "Transpose") {
      if (!factors.reshape(*dims)) return std::nullopt;
      continue;
    }
    std::vector<int64_t> reversed(dims->size());
    std::iota(reversed.rbegin(), reversed.rend(), 0);
    if (!factors.transpose(node.attr_ints("perm", reversed))) return std::nullopt;
  }
  return factors;
}

Node step_node(Edit& edit, const Node& named, const Step& step, const Dims& from, ValueId x) {
  Node node;
  node.name = named.name;
  node.origins = named.origins;
  node.inputs = {x};
  node.op = step.perm.empty() ? "Reshape" : "Transpose";
  if (!step.perm.empty()) {
    node.attrs["perm"] = step.perm;
  } else {
    const auto target = reshape_target(from, step.dims);
    node.inputs.push_back(edit.new_constant(edit.value(named.out(0)).name + ".shape", Tensor::from_i64(*target)));
  }
  return node;
}

bool rewrite(Edit& edit, const SymbolicShapes& shapes, const std::vector<int32_t>& chain) {
  const auto factors = follow(edit, shapes, chain);
  if (!factors) return false;
  const ValueId x = edit.node(chain.back()).in(0);
  const Dims& source = *shapes.dims(x);
  const std::vector<Step> steps = shortest(source, *factors);
  // Nodes that other readers keep alive do not count as saved.
  size_t saved = 1;
  while (saved < chain.size() && edit.single_consumer(edit.node(chain[saved]).out(0)) >= 0) ++saved;
  const auto moves = std::ranges::count_if(chain, [&](int32_t n) { return edit.node(n).op == "Transpose"; });
  const auto new_moves = std::ranges::count_if(steps, [](const Step& s) { return !s.perm.empty(); });
  if (steps.size() > saved || (steps.size() == saved && new_moves >= moves)) return false;
  Dims from = source;
  for (const Step& step : steps) {
    if (step.perm.empty() && !reshape_target(from, step.dims)) return false;
    from = step.dims;
  }
  Node last = edit.node(chain.front());
  for (size_t i = 1; i < chain.size(); ++i) {
    last.name = joined_name(edit.node(chain[i]).name, last.name);
    add_origins(last, edit.node(chain[i]), true);
  }
  if (steps.empty()) {
    if (!edit.forward(last.out(0), x)) return false;
    edit.remove_if_unused(chain.front());
    return true;
  }
  ValueId current = x;
  from = source;
  for (size_t i = 0; i < steps.size(); ++i) {
    Node node = step_node(edit, last, steps[i], from, current);
    from = steps[i].dims;
    if (i + 1 == steps.size()) {
      edit.replace_pattern(chain.front(), std::move(node));
      break;
    }
    current = edit.new_value(edit.value(last.out(0)).name + "/" + node.op, edit.dtype(x));
    node.outputs = {current};
    edit.insert(chain.front(), std::move(node));
  }
  return true;
}

}  // namespace

Result<Graph> simplify_views(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  const SymbolicShapes shapes(graph);
  // From the end, so that the longest chain is seen first.
  for (int32_t n = edit.size() - 1; n >= 0; --n) {
    if (!edit.alive(n) || !is_view(edit.node(n))) continue;
    for (std::vector<int32_t> chain = chain_of(edit, n); chain.size() > 1; chain.pop_back())
      if (rewrite(edit, shapes, chain)) break;
  }
  return std::move(edit).finish();
}

}  // namespace planish
