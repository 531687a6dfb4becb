#include "planish/passes/symbolic_shapes.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "planish/ops/op.h"

namespace planish {
namespace {

/// Longer integer vectors are data, not shapes.
constexpr int64_t kMaxElements = 64;

std::optional<Dims> elements_of_constant(const Tensor& t) {
  const bool integer = dtype_is_integer(t.dtype()) || t.dtype() == DType::boolean;
  if (!integer || t.rank() > 1 || t.size() > kMaxElements) return std::nullopt;
  Dims out;
  for (int64_t i = 0; i < t.size(); ++i) out.push_back(Dim::of(t.int_at(i)));
  return out;
}

Dim arithmetic(std::string_view op, const Dim& a, const Dim& b) {
  if (op == "Mul" && a.is(1)) return b;
  if ((op == "Mul" || op == "Div") && b.is(1)) return a;
  if (op == "Add" && a.is(0)) return b;
  if ((op == "Add" || op == "Sub") && b.is(0)) return a;
  if (op == "Equal") {
    if (a.known && b.known) return Dim::of(a.value == b.value ? 1 : 0);
    // A dimension is never negative.
    if ((a.symbol != 0 && b.known && b.value < 0) || (b.symbol != 0 && a.known && a.value < 0)) return Dim::of(0);
    return {};
  }
  if (!a.known || !b.known) return {};
  int64_t result = 0;
  if (op == "Mul") return __builtin_mul_overflow(a.value, b.value, &result) ? Dim{} : Dim::of(result);
  if (op == "Add") return __builtin_add_overflow(a.value, b.value, &result) ? Dim{} : Dim::of(result);
  if (op == "Sub") return __builtin_sub_overflow(a.value, b.value, &result) ? Dim{} : Dim::of(result);
  if (op == "Max") return Dim::of(std::max(a.value, b.value));
  if (op == "Min") return Dim::of(std::min(a.value, b.value));
  if (op == "Div" && b.value > 0 && a.value >= 0) return Dim::of(a.value / b.value);
  return {};
}

bool keeps_shape(const Node& node) {
  static constexpr std::array<std::string_view, 12> kOps{
      "Identity", "Cast",     "Dropout",    "LayerNormalization",    "RMSNormalization", "BatchNormalization",
      "Softmax",  "CastLike", "LogSoftmax", "InstanceNormalization", "QuantizeLinear",   "DequantizeLinear"};
  return node.domain.empty() && std::ranges::find(kOps, node.op) != kOps.end();
}

int64_t wrapped(int64_t axis, size_t rank) { return axis < 0 ? axis + static_cast<int64_t>(rank) : axis; }

/// Which of `rank` axes are listed; nullopt when one is unknown or out of range.
std::optional<std::vector<bool>> marked_axes(const Dims& axes, size_t rank) {
  std::vector<bool> marked(rank, false);
  for (const Dim& a : axes) {
    const int64_t axis = a.known ? wrapped(a.value, rank) : -1;
    if (axis < 0 || axis >= static_cast<int64_t>(rank)) return std::nullopt;
    marked[static_cast<size_t>(axis)] = true;
  }
  return marked;
}

}  // namespace

SymbolicShapes::SymbolicShapes(const Graph& graph)
    : graph_(graph), dims_(graph.values.size()), elements_(graph.values.size()) {
  for (size_t v = 0; v < graph.values.size(); ++v) {
    if (!graph.values[v].is_constant()) continue;
    const Tensor& t = *graph.values[v].constant;
    dims_[v].emplace();
    for (const int64_t d : t.shape()) dims_[v]->push_back(Dim::of(d));
    elements_[v] = elements_of_constant(t);
  }
  for (const ValueId v : graph.inputs) set_dims(v, std::nullopt);
  for (const auto& capture : graph.captures) set_dims(capture.second, std::nullopt);
  for (const Node& node : graph.nodes) visit(node);
}

const Dims* SymbolicShapes::dims(ValueId v) const {
  return v >= 0 && static_cast<size_t>(v) < dims_.size() && dims_[static_cast<size_t>(v)]
             ? &*dims_[static_cast<size_t>(v)]
             : nullptr;
}

const Dims* SymbolicShapes::elements(ValueId v) const {
  return v >= 0 && static_cast<size_t>(v) < elements_.size() && elements_[static_cast<size_t>(v)]
             ? &*elements_[static_cast<size_t>(v)]
             : nullptr;
}

bool SymbolicShapes::same_shape(ValueId a, ValueId b) const {
  const Dims* x = dims(a);
  const Dims* y = dims(b);
  return x != nullptr && y != nullptr &&
         std::ranges::equal(*x, *y, [](const Dim& p, const Dim& q) { return p.same(q); });
}

/// Inferred sizes win; unknown ones take the derived symbol, the one of their name, or a fresh one.
void SymbolicShapes::set_dims(ValueId v, const std::optional<Dims>& derived) {
  const Value& value = graph_.value(v);
  if (!value.shape) {
    dims_[static_cast<size_t>(v)] = derived;
    return;
  }
  Dims out;
  const bool is_input = std::ranges::find(graph_.inputs, v) != graph_.inputs.end();
  for (size_t i = 0; i < value.shape->size(); ++i) {
    const int64_t d = (*value.shape)[i];
    if (d >= 0) {
      out.push_back(Dim::of(d));
      continue;
    }
    const bool fits = derived && derived->size() == value.shape->size();
    if (fits && ((*derived)[i].known || (*derived)[i].symbol != 0)) {
      out.push_back((*derived)[i]);
      continue;
    }
    const std::string name = is_input && i < value.dim_names.size() ? value.dim_names[i] : "";
    if (name.empty())
      out.push_back(Dim::unknown(next_symbol_++));
    else if (const auto [it, fresh] = named_.try_emplace(name, next_symbol_); true) {
      next_symbol_ += fresh ? 1 : 0;
      out.push_back(Dim::unknown(it->second));
    }
  }
  dims_[static_cast<size_t>(v)] = std::move(out);
}

void SymbolicShapes::visit(const Node& node) {
  const ValueId y = node.out(0);
  if (y == kNoValue) return;
  set_dims(y, shape_of_output(node));
  elements_[static_cast<size_t>(y)] = elements_of_output(node);
  for (size_t i = 1; i < node.outputs.size(); ++i) {
    if (node.outputs[i] == kNoValue) continue;
    const bool split = node.is("Split");  // all outputs agree but for the split axis, whose sizes are inferred
    set_dims(node.outputs[i], split ? shape_of_output(node) : std::nullopt);
  }
}

std::optional<Dims> SymbolicShapes::broadcast(const Node& node) const {
  Dims out;
  for (const ValueId v : node.inputs) {
    const Dims* in = dims(v);
    if (v == kNoValue) continue;
    if (in == nullptr) return std::nullopt;
    if (in->size() > out.size()) out.insert(out.begin(), in->size() - out.size(), Dim::of(1));
    for (size_t i = 0; i < in->size(); ++i) {
      Dim& d = out[out.size() - in->size() + i];
      const Dim& x = (*in)[i];
      if (x.is(1) || d.same(x)) continue;
      if (d.is(1))
        d = x;
      else if (!d.known && x.known)
        d = x;  // an unknown one must be 1 or the same
      else if (!x.known)
        d = d.known ? d : Dim{};
    }
  }
  return out;
}

std::optional<Dims> SymbolicShapes::matmul(const Node& node) const {
  const Dims* a = dims(node.in(0));
  const Dims* b = dims(node.in(1));
  if (a == nullptr || b == nullptr || a->size() < 2 || b->size() < 2) return std::nullopt;
  const bool trans_a = node.attr_int(node.is("Gemm") ? "transA" : "trans_a", 0) != 0;
  const bool trans_b = node.attr_int(node.is("Gemm") ? "transB" : "trans_b", 0) != 0;
  const Dim rows = (*a)[a->size() - (trans_a ? 1 : 2)];
  const Dim columns = (*b)[b->size() - (trans_b ? 2 : 1)];
  Dims out(a->begin(), a->end() - 2);
  if (b->size() > 2) {
    const bool agree = a->size() == b->size() && std::equal(out.begin(), out.end(), b->begin(),
                                                            [](const Dim& x, const Dim& y) { return x.same(y); });
    if (!agree) return std::nullopt;
  }
  out.push_back(rows);
  out.push_back(columns);
  return out;
}

std::optional<Dims> SymbolicShapes::reshape(const Node& node) const {
  const Dims* in = dims(node.in(0));
  const Dims* target = elements(node.in(1));
  if (target == nullptr) return std::nullopt;
  Dims out = *target;
  for (size_t i = 0; i < out.size(); ++i)
    if (out[i].is(0) && node.attr_int("allowzero", 0) == 0) out[i] = in != nullptr && i < in->size() ? (*in)[i] : Dim{};
  const auto hole = std::ranges::find_if(out, [](const Dim& d) { return d.is(-1); });
  if (hole != out.end()) *hole = in != nullptr ? remaining_dim(*in, out).value_or(Dim{}) : Dim{};
  return out;
}

std::optional<Dims> SymbolicShapes::squeeze(const Node& node) const {
  const Dims* x = dims(node.in(0));
  const Dims* axes = elements(node.in(1));
  const Value& y = graph_.value(node.out(0));
  if (axes == nullptr || !y.shape) return std::nullopt;
  const bool insert = node.is("Unsqueeze");
  const auto marked = marked_axes(*axes, insert ? y.shape->size() : x->size());
  if (!marked) return std::nullopt;
  Dims out;
  size_t from = 0;
  for (const bool mark : *marked) {
    if (insert && mark) {
      out.push_back(Dim::of(1));
      continue;
    }
    if (!mark && from < x->size()) out.push_back((*x)[from]);
    ++from;
  }
  return out;
}

/// Operators that change single axes only: Reduce* with keepdims, Slice.
std::optional<Dims> SymbolicShapes::all_but(const Node& node, ValueId axes_input) const {
  const Dims* x = dims(node.in(0));
  const Dims* axes = elements(axes_input);
  if (axes == nullptr) return std::nullopt;
  const auto marked = marked_axes(*axes, x->size());
  if (!marked) return std::nullopt;
  const bool reduce = node.op.starts_with("Reduce");
  const bool keep = !reduce || node.attr_int("keepdims", 1) != 0;
  Dims out;
  for (size_t i = 0; i < x->size(); ++i) {
    if (!(*marked)[i])
      out.push_back((*x)[i]);
    else if (keep)
      out.push_back(reduce ? Dim::of(1) : Dim{});
  }
  return out;
}

std::optional<Dims> SymbolicShapes::gather(const Node& node) const {
  const Dims* x = dims(node.in(0));
  const Dims* index = dims(node.in(1));
  const int64_t axis = wrapped(node.attr_int("axis", 0), x->size());
  if (index == nullptr || axis < 0 || axis >= static_cast<int64_t>(x->size())) return std::nullopt;
  Dims out(x->begin(), x->begin() + axis);
  out.insert(out.end(), index->begin(), index->end());
  out.insert(out.end(), x->begin() + axis + 1, x->end());
  return out;
}

std::optional<Dims> SymbolicShapes::expand(const Node& node) const {
  const Dims* x = dims(node.in(0));
  const Dims* target = elements(node.in(1));
  if (target == nullptr || x->size() > target->size()) return std::nullopt;
  Dims out = *target;
  for (size_t i = 0; i < x->size(); ++i) {
    Dim& d = out[out.size() - x->size() + i];
    if (d.is(1)) d = (*x)[i];
  }
  return out;
}

/// Operators of the default domain whose output follows from the dimensions of input 0, which are known.
std::optional<Dims> SymbolicShapes::shape_from_first(const Node& node) const {
  const Dims* x = dims(node.in(0));
  if (node.is("Transpose")) {
    const auto perm = node.attr_ints("perm");
    Dims out(x->rbegin(), x->rend());
    if (perm.size() == x->size())
      for (size_t i = 0; i < perm.size(); ++i)
        if (perm[i] >= 0 && perm[i] < static_cast<int64_t>(x->size())) out[i] = (*x)[static_cast<size_t>(perm[i])];
    return out;
  }
  if (node.is("Attention") && x->size() == 3) {
    Dims out = *x;
    out[2] = {};  // inference knows it, or nobody
    return out;
  }
  if (node.is("Attention") && x->size() == 4) {
    const Dims* v = dims(node.in(2));
    Dims out = *x;
    out[3] = v != nullptr && v->size() == 4 ? (*v)[3] : Dim{};
    return out;
  }
  if (node.is("Gather")) return gather(node);
  if (node.is("Expand")) return expand(node);
  if (node.is("Slice") && node.in(3) != kNoValue) return all_but(node, node.in(3));
  if (node.op.starts_with("Reduce") && node.in(1) != kNoValue) return all_but(node, node.in(1));
  if (node.is("Unsqueeze") || node.is("Squeeze")) return squeeze(node);
  if (node.is("Concat") || node.is("Split")) {
    Dims out = *x;
    const int64_t axis = wrapped(node.attr_int("axis", 0), x->size());
    if (axis >= 0 && axis < static_cast<int64_t>(x->size()) && (node.inputs.size() > 1 || node.is("Split")))
      out[static_cast<size_t>(axis)] = Dim{};
    return out;
  }
  if (node.is("Flatten") && x->size() > 0 && wrapped(node.attr_int("axis", 1), x->size()) == 1)
    return Dims{(*x)[0], remaining_dim(*x, {(*x)[0], Dim::of(-1)}).value_or(Dim{})};
  return std::nullopt;
}

std::optional<Dims> SymbolicShapes::shape_of_output(const Node& node) const {
  const Dims* x = dims(node.in(0));
  const OpDecl* op = find_op(node.domain, node.op);
  if (node.is("FusedMatMul", "planish") || node.is("QuantizedMatMul", "planish") ||
      node.is("WeightOnlyMatMul", "planish") || node.is("MatMul") || node.is("Gemm"))
    return matmul(node);
  // Before the broadcasting rule: CastLike's second operand gives its type only.
  if (keeps_shape(node)) return x != nullptr ? std::optional(*x) : std::nullopt;
  if (op != nullptr && (op->traits & kTraitPointwise) != 0) return broadcast(node);
  if (node.is("Reshape")) return reshape(node);
  if (node.is("ConstantOfShape")) return elements(node.in(0)) ? std::optional(*elements(node.in(0))) : std::nullopt;
  if (x == nullptr) return std::nullopt;
  const bool keeps_batch = node.is("Conv") || node.is("MaxPool") || node.is("AveragePool") ||
                           node.is("GlobalAveragePool") || node.is("ConvTranspose") ||
                           node.is("FusedConv", "planish") || node.is("FusedConvTranspose", "planish") ||
                           node.is("QuantizedConv", "planish") || node.is("QuantizedGlobalAveragePool", "planish") ||
                           node.is("QuantizedAveragePool", "planish");
  const Value& y = graph_.value(node.out(0));
  if (!keeps_batch || !y.shape || y.shape->empty() || x->empty())
    return node.domain.empty() ? shape_from_first(node) : std::nullopt;
  Dims out(y.shape->size());
  out[0] = (*x)[0];
  return out;
}

std::optional<Dims> SymbolicShapes::elements_of_output(const Node& node) const {
  const auto copy = [this](ValueId v) { return elements(v) ? std::optional(*elements(v)) : std::nullopt; };
  if (!node.domain.empty()) return std::nullopt;
  if (node.op == "Shape") {
    const Dims* x = dims(node.in(0));
    if (x == nullptr) return std::nullopt;
    const auto rank = static_cast<int64_t>(x->size());
    const auto bound = [&](int64_t i) { return std::clamp<int64_t>(wrapped(i, x->size()), 0, rank); };
    const int64_t begin = bound(node.attr_int("start", 0));
    const int64_t end = std::max(begin, bound(node.attr_int("end", rank)));
    return Dims(x->begin() + begin, x->begin() + end);
  }
  const Shape* shape = graph_.value(node.out(0)).shape ? &*graph_.value(node.out(0)).shape : nullptr;
  if (shape == nullptr || shape->size() > 1) return std::nullopt;
  const DType to = graph_.value(node.out(0)).dtype;
  if (node.op == "Identity" || node.op == "Unsqueeze" || node.op == "Squeeze" || node.op == "Reshape" ||
      (node.op == "Cast" && dtype_is_integer(to) && dtype_bits(to) >= 32))
    return copy(node.in(0));
  const Dims* a = elements(node.in(0));
  if (node.op == "Concat") {
    Dims out;
    for (const ValueId v : node.inputs) {
      if (elements(v) == nullptr) return std::nullopt;
      out.insert(out.end(), elements(v)->begin(), elements(v)->end());
    }
    return out;
  }
  if (node.op == "ConstantOfShape") {
    const Tensor* fill = node.attr_tensor("value");
    if (a == nullptr || a->size() > 1 || (!a->empty() && (!(*a)[0].known || (*a)[0].value > kMaxElements)))
      return std::nullopt;
    if (fill != nullptr && !dtype_is_integer(fill->dtype()) && fill->dtype() != DType::boolean) return std::nullopt;
    if (fill == nullptr) return std::nullopt;
    return Dims(a->empty() ? 1 : static_cast<size_t>((*a)[0].value), Dim::of(fill->int_at(0)));
  }
  if (a == nullptr) return std::nullopt;
  const Dims* b = elements(node.in(1));
  if (node.op == "Gather") {
    if (b == nullptr) return std::nullopt;
    Dims out;
    for (const Dim& i : *b) {
      const int64_t at = i.known ? wrapped(i.value, a->size()) : -1;
      if (at < 0 || at >= static_cast<int64_t>(a->size())) return std::nullopt;
      out.push_back((*a)[static_cast<size_t>(at)]);
    }
    return out;
  }
  if (node.op == "Slice") {
    const Dims* end = elements(node.in(2));
    const Dims* step = elements(node.in(4));
    const auto n = static_cast<int64_t>(a->size());
    if (b == nullptr || end == nullptr || b->size() != 1 || end->size() != 1 || !(*b)[0].known || !(*end)[0].known)
      return std::nullopt;
    if (node.in(4) != kNoValue && (step == nullptr || step->size() != 1 || !(*step)[0].is(1))) return std::nullopt;
    const auto bound = [n](int64_t i) { return std::clamp<int64_t>(i < -n ? 0 : (i < 0 ? i + n : i), 0, n); };
    const int64_t first = bound((*b)[0].value);
    return Dims(a->begin() + first, a->begin() + std::max(first, bound((*end)[0].value)));
  }
  const auto select = [](const Dims& d, size_t i) { return d[d.size() == 1 ? 0 : i]; };
  if (node.op == "Where") {
    const Dims* c = elements(node.in(2));
    if (b == nullptr || c == nullptr) return std::nullopt;
    const size_t n = std::max({a->size(), b->size(), c->size()});
    Dims out;
    for (size_t i = 0; i < n; ++i) {
      const Dim p = select(*a, i);
      out.push_back(p.known ? (p.value != 0 ? select(*b, i) : select(*c, i)) : Dim{});
    }
    return out;
  }
  static constexpr std::array<std::string_view, 7> kBinary{"Add", "Sub", "Mul", "Div", "Equal", "Min", "Max"};
  if (b == nullptr || node.inputs.size() != 2 || std::ranges::find(kBinary, node.op) == kBinary.end())
    return std::nullopt;
  if (a->empty() || b->empty()) return std::nullopt;
  Dims out;
  for (size_t i = 0; i < std::max(a->size(), b->size()); ++i)
    out.push_back(arithmetic(node.op, select(*a, i), select(*b, i)));
  return out;
}

std::optional<Dim> remaining_dim(const Dims& input, const Dims& target) {
  int64_t numerator = 1;
  int64_t denominator = 1;
  std::vector<int32_t> symbols;
  for (const Dim& d : input) {
    if (d.known && __builtin_mul_overflow(numerator, d.value, &numerator)) return std::nullopt;
    if (d.known) continue;
    if (d.symbol != 0)
      symbols.push_back(d.symbol);
    else
      return std::nullopt;
  }
  for (const Dim& d : target) {
    if (d.is(-1)) continue;
    if (d.known && __builtin_mul_overflow(denominator, d.value, &denominator)) return std::nullopt;
    if (d.known) continue;
    const auto it = std::ranges::find(symbols, d.symbol);
    if (d.symbol == 0 || it == symbols.end()) return std::nullopt;
    symbols.erase(it);
  }
  if (denominator <= 0 || numerator <= 0 || numerator % denominator != 0) return std::nullopt;
  if (symbols.empty()) return Dim::of(numerator / denominator);
  if (symbols.size() == 1 && numerator == denominator) return Dim::unknown(symbols[0]);
  return std::nullopt;
}

}  // namespace planish
