// (x - mean) / sqrt(mean((x - mean)^2) + epsilon) * gamma + beta over the last dimensions -> LayerNormalization;
// x / sqrt(mean(x^2) + epsilon) * gamma -> RMSNormalization. Squares by Pow or Mul; the division as Div, or as Mul
// with Reciprocal or 1 / sqrt. Sources: Ba, Kiros, Hinton, "Layer Normalization" (2016); Zhang, Sennrich, "Root Mean
// Square Layer Normalization" (2019).

#include <algorithm>

#include "planish/passes/match.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

/// What a match consists of; `root` is the node whose output is the normalised tensor.
struct Norm {
  ValueId x = kNoValue;
  int64_t axes = 0;  ///< number of trailing dimensions
  double epsilon = 0;
  bool centred = false;
  int32_t root = -1;
  std::vector<int32_t> nodes;
};

/// Number of trailing axes that a keepdims ReduceMean of `x` averages over; 0 when `v` is none.
int64_t trailing_mean(const Edit& edit, ValueId v, ValueId x) {
  const Node* mean = edit.made_by(v, "ReduceMean");
  if (mean == nullptr || mean->in(0) != x || mean->attr_int("keepdims", 1) == 0) return 0;
  const Tensor* axes = edit.constant(mean->in(1));
  if (axes == nullptr || axes->size() == 0) return 0;
  const int64_t rank = edit.rank(x);
  std::vector<int64_t> from_end;
  for (const int64_t a : axes->to_i64()) {
    if (a >= 0 && rank < 0) return 0;
    from_end.push_back(a < 0 ? -a : rank - a);
  }
  std::ranges::sort(from_end);
  for (size_t i = 0; i < from_end.size(); ++i)
    if (from_end[i] != static_cast<int64_t>(i) + 1) return 0;
  return static_cast<int64_t>(from_end.size());
}

/// The deviation's square root argument: `v` = sqrt(mean(square) + epsilon).
bool match_deviation(const Edit& edit, ValueId v, ValueId squared_value, Norm& norm) {
  const Node* sqrt = edit.made_by(v, "Sqrt");
  const bool by_pow =
      sqrt == nullptr && edit.made_by(v, "Pow") != nullptr && is_scalar(edit, edit.made_by(v, "Pow")->in(1), 0.5);
  if (sqrt == nullptr && !by_pow) return false;
  const ValueId sum = edit.node(edit.producer(v)).in(0);
  const auto with_epsilon = with_scalar(edit, sum, "Add");
  if (!with_epsilon || with_epsilon->scalar <= 0) return false;
  const Node* mean = edit.made_by(with_epsilon->x, "ReduceMean");
  if (mean == nullptr || squared(edit, mean->in(0)) != squared_value) return false;
  norm.axes = trailing_mean(edit, with_epsilon->x, mean->in(0));
  norm.epsilon = with_epsilon->scalar;
  for (const ValueId part : {v, sum, with_epsilon->x, mean->in(0)}) norm.nodes.push_back(edit.producer(part));
  return norm.axes > 0;
}

/// Numerator and denominator of a division, also when written as a product with a reciprocal.
struct Quotient {
  ValueId numerator = kNoValue;
  ValueId denominator = kNoValue;
  int32_t reciprocal = -1;
};

std::vector<Quotient> quotients(const Edit& edit, const Node& node) {
  if (node.is("Div")) return {{node.in(0), node.in(1), -1}};
  std::vector<Quotient> out;
  if (!node.is("Mul") || node.inputs.size() != 2) return out;
  for (size_t i = 0; i < 2; ++i) {
    const ValueId v = node.in(1 - i);
    if (const Node* r = edit.made_by(v, "Reciprocal")) out.push_back({node.in(i), r->in(0), edit.producer(v)});
    const Node* div = edit.made_by(v, "Div");
    if (div != nullptr && is_scalar(edit, div->in(0), 1)) out.push_back({node.in(i), div->in(1), edit.producer(v)});
  }
  return out;
}

std::optional<Norm> match(const Edit& edit, int32_t n) {
  for (const Quotient& q : quotients(edit, edit.node(n))) {
    Norm norm{.x = q.numerator, .root = n, .nodes = {n}};
    if (q.reciprocal >= 0) norm.nodes.push_back(q.reciprocal);
    if (!match_deviation(edit, q.denominator, q.numerator, norm)) continue;
    const Node* sub = edit.made_by(q.numerator, "Sub");
    if (sub != nullptr && trailing_mean(edit, sub->in(1), sub->in(0)) == norm.axes) {
      norm.centred = true;
      norm.x = sub->in(0);
      norm.nodes.push_back(edit.producer(q.numerator));
      norm.nodes.push_back(edit.producer(sub->in(1)));
    }
    return norm;
  }
  return std::nullopt;
}

/// Sizes of the normalised dimensions, nullopt when they are not known.
std::optional<Shape> normalised_shape(const Edit& edit, const Norm& norm) {
  const Shape* shape = edit.shape(norm.x);
  if (shape == nullptr || static_cast<int64_t>(shape->size()) < norm.axes) return std::nullopt;
  Shape tail(shape->end() - norm.axes, shape->end());
  return is_static(tail) ? std::optional(tail) : std::nullopt;
}

/// The only reader of node `n` when it is `op` with a constant of shape `tail` (leading ones dropped).
std::optional<Tensor> absorb(const Edit& edit, int32_t n, std::string_view op, const Shape& tail, int32_t& reader) {
  const ValueId y = edit.node(n).out(0);
  reader = edit.single_consumer(y);
  if (reader < 0 || !edit.node(reader).is(op) || edit.node(reader).inputs.size() != 2) return std::nullopt;
  const Node& node = edit.node(reader);
  const Tensor* t = edit.constant(node.in(0) == y ? node.in(1) : node.in(0));
  if (t == nullptr || t->size() != element_count(tail) || t->dtype() != edit.dtype(y)) return std::nullopt;
  Shape padded(t->shape());
  while (padded.size() > tail.size() && padded.front() == 1) padded.erase(padded.begin());
  return padded == tail ? std::optional(t->reshaped(tail)) : std::nullopt;
}

bool fuse(Edit& edit, int32_t n) {
  auto norm = match(edit, n);
  if (!norm || !dtype_is_float(edit.dtype(norm->x))) return false;
  const auto tail = normalised_shape(edit, *norm);
  if (!tail) return false;
  int32_t reader = -1;
  auto gamma = absorb(edit, norm->root, "Mul", *tail, reader);
  if (gamma) {
    norm->root = reader;
    norm->nodes.push_back(reader);
  } else {
    gamma = Tensor(edit.dtype(norm->x), *tail);
    for (int64_t i = 0; i < gamma->size(); ++i) gamma->set(i, 1);
  }
  std::optional<Tensor> beta;
  if (norm->centred) beta = absorb(edit, norm->root, "Add", *tail, reader);
  if (beta) {
    norm->root = reader;
    norm->nodes.push_back(reader);
  }
  Node whole = fused_node(norm->centred ? "LayerNormalization" : "RMSNormalization", "", parts(edit, norm->nodes));
  const std::string stem = edit.value(edit.node(norm->root).out(0)).name;
  whole.inputs = {norm->x, edit.new_constant(stem + ".gamma", *gamma)};
  if (beta) whole.inputs.push_back(edit.new_constant(stem + ".beta", *beta));
  whole.attrs["axis"] = -norm->axes;
  whole.attrs["epsilon"] = static_cast<float>(norm->epsilon);
  edit.replace_pattern(norm->root, std::move(whole));
  return true;
}

}  // namespace

Result<Graph> fuse_layer_norm(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  for (int32_t n = 0; n < edit.size(); ++n)
    if (edit.alive(n)) fuse(edit, n);
  return std::move(edit).finish();
}

}  // namespace planish
