// softmax(scale * Q K^T + mask) V -> ONNX Attention in its 4-D form [batch, heads, length, head size].
//
// The scale may stand behind the product or in front of Q and K (PyTorch's scaled_dot_product_attention multiplies
// both by its square root), as Mul or Div. Masks are added, or chosen by Where with a very negative constant; several
// (a position bias and a mask, say) are added up in front, which layers that share them do once.
// PyTorch's guard Where(IsNaN(p), 0, p) goes: Attention gives 0 for a query that may see nothing. Operands of rank 3
// are viewed as a batch of one. V P^T, which channels-first networks compute (YOLO11), is the transpose of that.
// Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.2.

#include <array>
#include <numeric>

#include "planish/passes/match.h"
#include "planish/passes/pass.h"
#include "planish/passes/symbolic_shapes.h"

namespace planish {
namespace {

/// A score this low is hidden whatever is added to it: FP32 keeps nothing of a usual score beside it.
constexpr double kHidden = -1e30;

struct Mask {
  ValueId value = kNoValue;      ///< added to the scores
  ValueId condition = kNoValue;  ///< or: Where(condition, ...)
  bool condition_hides = false;  ///< the scores are where the condition is false
  double hidden = 0;             ///< what hidden scores become
  int32_t node = -1;             ///< the Add or Where
};

struct Match {
  ValueId q = kNoValue;
  ValueId k_transposed = kNoValue;
  ValueId v = kNoValue;
  bool transposed = false;  ///< v is V^T, and so is the result
  std::vector<Mask> masks;  ///< the one next to the product first
  double scale = 1;
  std::vector<int32_t> nodes;
};

void note(const Edit& edit, Match& m, ValueId v) { m.nodes.push_back(edit.producer(v)); }

/// Looks through a multiplication or division by a scalar.
ValueId unscaled(const Edit& edit, ValueId v, Match& m) {
  if (const auto mul = with_scalar(edit, v, "Mul")) {
    note(edit, m, v);
    m.scale *= mul->scalar;
    return mul->x;
  }
  const auto div = with_scalar(edit, v, "Div");
  if (!div || div->scalar == 0) return v;
  note(edit, m, v);
  m.scale *= 1 / div->scalar;
  return div->x;
}

/// Looks through Where(IsNaN(p), 0, p).
ValueId unguarded(const Edit& edit, ValueId v, Match& m) {
  const Node* where = edit.made_by(v, "Where");
  const Node* nan = where != nullptr ? edit.made_by(where->in(0), "IsNaN") : nullptr;
  if (nan == nullptr || nan->in(0) != where->in(2) || scalar_of(edit, where->in(1)) != 0.0) return v;
  note(edit, m, where->in(0));
  note(edit, m, v);
  return where->in(2);
}

/// Takes a product apart; false when `v` is none.
bool match_scores(const Edit& edit, ValueId v, Match& m) {
  const ValueId product = unscaled(edit, v, m);
  const Node* matmul = edit.made_by(product, "MatMul");
  if (matmul == nullptr || edit.single_consumer(product) < 0) return false;
  note(edit, m, product);
  m.q = unscaled(edit, matmul->in(0), m);
  m.k_transposed = unscaled(edit, matmul->in(1), m);
  return true;
}

bool match_masked_scores(const Edit& edit, ValueId v, Match& m) {
  constexpr size_t kMostMasks = 4;
  if (match_scores(edit, v, m)) return true;
  const int32_t n = edit.producer(v);
  if (n < 0 || m.masks.size() == kMostMasks) return false;
  const Node& node = edit.node(n);
  const auto behind = [&](ValueId scores, const Mask& mask) {
    Match attempt = m;
    attempt.nodes.push_back(n);
    attempt.masks.insert(attempt.masks.begin(), mask);
    if (!match_masked_scores(edit, scores, attempt)) return false;
    m = std::move(attempt);
    return true;
  };
  if (node.is("Add") && node.inputs.size() == 2)
    for (size_t i = 0; i < 2; ++i)
      if (behind(node.in(i), Mask{.value = node.in(1 - i), .node = n})) return true;
  if (!node.is("Where")) return false;
  for (size_t i = 1; i < 3; ++i) {
    const auto hidden = scalar_of(edit, node.in(3 - i));
    if (!hidden || *hidden > kHidden) continue;
    if (behind(node.in(i), Mask{.condition = node.in(0), .condition_hides = i == 2, .hidden = *hidden, .node = n}))
      return true;
  }
  return false;
}

const std::vector<int64_t> kSwapLastTwo{0, 1, 3, 2};

/// The Transpose of a matrix per head that nothing else reads.
bool swaps_last_two(const Edit& edit, ValueId v) {
  const Node* transpose = edit.made_by(v, "Transpose");
  return transpose != nullptr && edit.single_consumer(v) >= 0 && transpose->attr_ints("perm") == kSwapLastTwo;
}

std::optional<Match> match(const Edit& edit, int32_t n) {
  const Node& root = edit.node(n);
  if (!root.is("MatMul")) return std::nullopt;
  Match m;
  m.nodes.push_back(n);
  const int64_t rank = edit.rank(root.in(0));
  ValueId weights = unguarded(edit, root.in(0), m);
  const Node* softmax = edit.made_by(weights, "Softmax");
  if (softmax == nullptr && rank == 4 && swaps_last_two(edit, root.in(1))) {
    m.transposed = true;
    m.nodes = {n, edit.producer(root.in(1))};
    weights = unguarded(edit, edit.node(m.nodes.back()).in(0), m);
    softmax = edit.made_by(weights, "Softmax");
  }
  if (softmax == nullptr || (rank != 3 && rank != 4)) return std::nullopt;
  const int64_t axis = softmax->attr_int("axis", -1);
  if ((axis != -1 && axis != rank - 1) || edit.is_output(weights)) return std::nullopt;
  note(edit, m, weights);
  if (!match_masked_scores(edit, softmax->in(0), m)) return std::nullopt;
  m.v = root.in(m.transposed ? 0 : 1);
  const bool same_rank = edit.rank(m.q) == rank && edit.rank(m.k_transposed) == rank && edit.rank(m.v) == rank;
  return same_rank && dtype_is_float(edit.dtype(m.q)) ? std::optional(m) : std::nullopt;
}

bool may_be_same(const Dim& a, const Dim& b) { return a.same(b) || (!a.known && !b.known); }

/// Batch and heads agree (MatMul would broadcast), and the last dimension of one mask is the keys' (Attention hides
/// keys beyond a shorter one), while that of the others may be 1.
bool shapes_fit(const SymbolicShapes& shapes, const Match& m) {
  const Dims* q = shapes.dims(m.q);
  const Dims* k = shapes.dims(m.k_transposed);
  const Dims* v = shapes.dims(m.v);
  if (q == nullptr || k == nullptr || v == nullptr) return false;
  for (size_t i = 0; i + 2 < q->size(); ++i)
    if (!may_be_same((*q)[i], (*k)[i]) || !may_be_same((*q)[i], (*v)[i])) return false;
  bool covers_keys = m.masks.empty();
  for (const Mask& mask : m.masks) {
    const Dims* d = shapes.dims(mask.value != kNoValue ? mask.value : mask.condition);
    if (d == nullptr || d->size() > q->size()) return false;
    const bool covers = !d->empty() && may_be_same(d->back(), k->back());
    if (!covers && !d->empty() && !d->back().is(1)) return false;
    covers_keys = covers_keys || covers;
  }
  return covers_keys;
}

/// Inserts `op`(input, constant) or `op`(input) with attributes and returns its output.
ValueId insert(Edit& edit, int32_t anchor, std::string_view op, const Node& named, std::vector<ValueId> inputs,
               std::map<std::string, Attr> attrs = {}) {
  Node node;
  node.op = op;
  node.name = named.name;
  node.origins = named.origins;
  const ValueId out = edit.new_value(named.name + "/" + node.op, edit.dtype(inputs[0]));
  node.inputs = std::move(inputs);
  node.outputs = {out};
  node.attrs = std::move(attrs);
  edit.insert(anchor, std::move(node));
  return out;
}

/// K from K^T: undoes a Transpose, or changes its permutation, or adds one.
ValueId keys_of(Edit& edit, int32_t anchor, Match& m, int64_t rank) {
  std::vector<int64_t> perm(static_cast<size_t>(rank));
  std::iota(perm.begin(), perm.end(), 0);
  const std::vector<int64_t> identity = perm;
  ValueId source = m.k_transposed;
  Node named = edit.node(anchor);
  const Node* transpose = edit.made_by(source, "Transpose");
  if (transpose != nullptr && transpose->attr_ints("perm").size() == perm.size()) {
    named = *transpose;
    perm = transpose->attr_ints("perm");
    source = unscaled(edit, transpose->in(0), m);
  }
  std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  if (perm == identity) return source;
  return insert(edit, anchor, "Transpose", named, {source}, {{"perm", perm}});
}

bool all_true(const Tensor& t) {
  for (int64_t i = 0; i < t.size(); ++i)
    if (t.at(i) == 0) return false;
  return true;
}

/// Where(And(c, true...), a, b) without the And, which did no more than to broadcast c over the queries: Attention
/// broadcasts by itself. Other values as they are.
ValueId narrowed(Edit& edit, const SymbolicShapes& shapes, int32_t anchor, ValueId v) {
  const Node* where = edit.made_by(v, "Where");
  const Node* both = where != nullptr ? edit.made_by(where->in(0), "And") : nullptr;
  const Dims* wide = shapes.dims(v);
  if (both == nullptr || wide == nullptr || !scalar_of(edit, where->in(1)) || !scalar_of(edit, where->in(2))) return v;
  for (size_t i = 0; i < 2; ++i) {
    const Tensor* t = edit.constant(both->in(i));
    const Dims* d = shapes.dims(both->in(1 - i));
    if (t == nullptr || !all_true(*t) || d == nullptr || d->size() != wide->size() || !d->back().same(wide->back()))
      continue;
    const Node named = *where;
    return insert(edit, anchor, "Where", named, {both->in(1 - i), named.in(1), named.in(2)});
  }
  return v;
}

/// One mask as an operand that is added to scores.
ValueId addend_of(Edit& edit, const SymbolicShapes& shapes, int32_t anchor, DType dtype, const Mask& m) {
  if (m.condition == kNoValue) return narrowed(edit, shapes, anchor, m.value);
  Tensor zero(dtype, {});
  Tensor hidden(dtype, {});
  hidden.set(0, m.hidden);
  const ValueId shown = edit.new_constant("attention/shown", std::move(zero));
  const ValueId not_shown = edit.new_constant("attention/hidden", std::move(hidden));
  const Node where = edit.node(m.node);
  return m.condition_hides ? insert(edit, anchor, "Where", where, {m.condition, not_shown, shown})
                           : insert(edit, anchor, "Where", where, {m.condition, shown, not_shown});
}

/// All masks as one operand. Their sum does not depend on the layer when they do not, and is then made once.
ValueId mask_of(Edit& edit, const SymbolicShapes& shapes, int32_t anchor, const Match& m) {
  const DType dtype = edit.dtype(m.q);
  ValueId sum = addend_of(edit, shapes, anchor, dtype, m.masks.front());
  for (size_t i = 1; i < m.masks.size(); ++i) {
    const Node add = edit.node(m.masks[i].node);
    sum = insert(edit, anchor, "Add", add, {sum, addend_of(edit, shapes, anchor, dtype, m.masks[i])});
  }
  return sum;
}

bool fuse(Edit& edit, const SymbolicShapes& shapes, int32_t n) {
  auto m = match(edit, n);
  if (!m || !shapes_fit(shapes, *m)) return false;
  const int64_t rank = edit.rank(m->q);
  const Node root = edit.node(n);
  std::vector<ValueId> inputs{m->q, kNoValue, m->v};
  inputs[1] = keys_of(edit, n, *m, rank);
  if (m->transposed) inputs[2] = insert(edit, n, "Transpose", root, {m->v}, {{"perm", kSwapLastTwo}});
  if (!m->masks.empty()) inputs.push_back(mask_of(edit, shapes, n, *m));
  Node whole = fused_node("Attention", "", parts(edit, m->nodes));
  whole.attrs["scale"] = static_cast<float>(m->scale);
  whole.inputs = std::move(inputs);
  if (rank == 4 && !m->transposed) {
    edit.replace_pattern(n, std::move(whole));
    return true;
  }
  Node view;
  view.name = whole.name;
  view.origins = whole.origins;
  whole.outputs = {edit.new_value(whole.name + "/4d", edit.dtype(root.out(0)))};
  if (m->transposed) {
    view.op = "Transpose";
    view.attrs["perm"] = kSwapLastTwo;
    view.inputs = {whole.outputs[0]};
  } else {
    const ValueId axes = edit.new_constant("attention/axes", Tensor::from_i64(std::array<int64_t, 1>{0}));
    for (size_t i = 0; i < 3; ++i) whole.inputs[i] = insert(edit, n, "Unsqueeze", whole, {whole.inputs[i], axes});
    view.op = "Squeeze";
    view.inputs = {whole.outputs[0], axes};
  }
  edit.insert(n, std::move(whole));
  edit.replace_pattern(n, std::move(view));
  return true;
}

}  // namespace

Result<Graph> fuse_attention(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  const SymbolicShapes shapes(graph);
  const int32_t count = edit.size();
  for (int32_t n = 0; n < count; ++n)
    if (edit.alive(n)) fuse(edit, shapes, n);
  return std::move(edit).finish();
}

}  // namespace planish
