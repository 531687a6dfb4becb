// Einsum of two operands -> MatMul between transposes and reshapes, and of one operand -> Transpose, so that products
// written as equations take part in everything that is done for matrix products. Equations with a diagonal, an outer
// product or a sum over a dimension of one operand alone stay.

#include <algorithm>
#include <cctype>
#include <string>

#include "planish/passes/edit.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

bool has(const std::string& labels, char l) { return labels.find(l) != std::string::npos; }

/// The dimensions of an ellipsis as labels that no equation contains: digits, numbered from the right.
std::string expand(std::string term, int64_t rank) {
  const size_t at = term.find("...");
  if (at == std::string::npos) return term;
  std::string dims;
  for (int64_t d = rank - static_cast<int64_t>(term.size()) + 3; d > 0; --d) dims += static_cast<char>('0' + d % 10);
  return term.replace(at, 3, dims);
}

/// The letters that occur once in `terms`, in alphabetical order, behind the dimensions of the ellipsis.
std::string implicit_output(const std::string& all) {
  std::string out;
  for (char digit = '9'; digit >= '0'; --digit)
    if (has(all, digit)) out += digit;
  std::string letters;
  for (const char l : all)
    if (std::isalpha(static_cast<unsigned char>(l)) != 0 && std::ranges::count(all, l) == 1) letters += l;
  std::ranges::sort(letters);
  return out + letters;
}

struct Operand {
  ValueId value = kNoValue;
  std::string labels;
  Shape shape;

  [[nodiscard]] int64_t dim(char l) const { return shape[labels.find(l)]; }
};

struct Equation {
  std::vector<Operand> operands;
  std::string output;
};

std::optional<Equation> parse(const Edit& edit, const Node& node) {
  std::string text = node.attr_string("equation", "");
  std::erase(text, ' ');
  const size_t arrow = text.find("->");
  std::string terms = text.substr(0, arrow) + ",";
  Equation e;
  std::string all;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const size_t comma = terms.find(',');
    const Shape* shape = edit.shape(node.in(i));
    if (comma == std::string::npos || shape == nullptr || shape->size() > 9) return std::nullopt;
    Operand o{node.in(i), expand(terms.substr(0, comma), static_cast<int64_t>(shape->size())), *shape};
    terms.erase(0, comma + 1);
    if (o.labels.size() != o.shape.size()) return std::nullopt;
    for (const char l : o.labels)
      if (std::ranges::count(o.labels, l) != 1) return std::nullopt;
    all += o.labels;
    e.operands.push_back(std::move(o));
  }
  if (!terms.empty()) return std::nullopt;
  e.output = arrow == std::string::npos ? implicit_output(all) : text.substr(arrow + 2);
  const size_t dots = e.output.find("...");
  if (dots != std::string::npos) {
    std::string dims;
    for (char digit = '9'; digit >= '0'; --digit)
      if (has(all, digit)) dims += digit;
    e.output.replace(dots, 3, dims);
  }
  return e;
}

/// What a label of two operands is: a dimension of the result that both, one or the other have, or a summed one.
struct Roles {
  std::string batch, a, b, sum;
};

std::optional<Roles> roles_of(const Equation& e) {
  const Operand& a = e.operands[0];
  const Operand& b = e.operands[1];
  Roles r;
  for (const char l : e.output) {
    if (!has(a.labels, l) && !has(b.labels, l)) return std::nullopt;
    (has(a.labels, l) ? has(b.labels, l) ? r.batch : r.a : r.b) += l;
  }
  for (const char l : a.labels) {
    if (!has(b.labels, l) && !has(e.output, l)) return std::nullopt;
    if (has(b.labels, l) && !has(e.output, l)) r.sum += l;
    // A dimension of 1 broadcasts against any other in an Einsum: sizes have to be seen to be equal. Those of the
    // result broadcast in a MatMul as well.
    if (has(b.labels, l) && a.dim(l) != b.dim(l)) return std::nullopt;
    if (has(r.sum, l) && a.dim(l) < 0) return std::nullopt;
  }
  for (const char l : b.labels)
    if (!has(a.labels, l) && !has(e.output, l)) return std::nullopt;
  return r.sum.empty() ? std::nullopt : std::optional(r);
}

ValueId transposed(Edit& edit, int32_t n, ValueId v, const std::string& from, const std::string& to) {
  if (from == to) return v;
  std::vector<int64_t> perm;
  for (const char l : to) perm.push_back(static_cast<int64_t>(from.find(l)));
  return edit.insert_op(n, "Transpose", edit.node(n), {v}, {{"perm", perm}});
}

ValueId reshaped(Edit& edit, int32_t n, ValueId v, const Shape& dims) {
  const ValueId shape = edit.new_constant(edit.value(edit.node(n).out(0)).name + ".shape", Tensor::from_i64(dims));
  return edit.insert_op(n, "Reshape", edit.node(n), {v, shape});
}

/// The sizes of some labels together, -1 when one is unknown.
int64_t size_of(const Operand& o, const std::string& labels) {
  int64_t size = 1;
  for (const char l : labels) size = o.dim(l) < 0 || size < 0 ? -1 : size * o.dim(l);
  return size;
}

/// [batch..., rows, columns] of an operand, each of the two one dimension.
ValueId as_matrix(Edit& edit, int32_t n, const Operand& o, const Roles& r, const std::string& rows,
                  const std::string& columns) {
  const ValueId v = transposed(edit, n, o.value, o.labels, r.batch + rows + columns);
  if (rows.size() == 1 && columns.size() == 1) return v;
  Shape dims(r.batch.size(), 0);  // 0: as it is
  dims.push_back(size_of(o, rows));
  dims.push_back(size_of(o, columns));
  return reshaped(edit, n, v, dims);
}

void put_transpose(Edit& edit, int32_t n, ValueId v, const std::string& from, const std::string& to) {
  Node node = edit.node(n);
  node.op = "Transpose";
  node.inputs = {v};
  std::vector<int64_t> perm;
  for (const char l : to) perm.push_back(static_cast<int64_t>(from.find(l)));
  node.attrs = {{"perm", perm}};
  edit.replace(n, std::move(node));
}

bool lower_product(Edit& edit, int32_t n, Equation e) {
  auto roles = roles_of(e);
  if (!roles) return false;
  if (e.output == roles->batch + roles->b + roles->a) {  // the other order needs no transpose of the result
    std::swap(e.operands[0], e.operands[1]);
    std::swap(roles->a, roles->b);
  }
  const Operand& a = e.operands[0];
  const Operand& b = e.operands[1];
  if (roles->batch.empty() && roles->sum.size() == 1 && roles->b.size() == 1 && !roles->a.empty()) {
    const ValueId left = transposed(edit, n, a.value, a.labels, roles->a + roles->sum);
    const ValueId right = transposed(edit, n, b.value, b.labels, roles->sum + roles->b);
    put_transpose(edit, n, edit.insert_op(n, "MatMul", edit.node(n), {left, right}), roles->a + roles->b, e.output);
    return true;
  }
  Shape dims(roles->batch.size(), 0);
  for (const char l : roles->a) dims.push_back(a.dim(l));
  for (const char l : roles->b) dims.push_back(b.dim(l));
  if (std::ranges::count(dims, kUnknownDim) > 1 && (roles->a.size() != 1 || roles->b.size() != 1)) return false;
  const ValueId left = as_matrix(edit, n, a, *roles, roles->a, roles->sum);
  const ValueId right = as_matrix(edit, n, b, *roles, roles->sum, roles->b);
  ValueId y = edit.insert_op(n, "MatMul", edit.node(n), {left, right});
  if (roles->a.size() != 1 || roles->b.size() != 1) y = reshaped(edit, n, y, dims);
  put_transpose(edit, n, y, roles->batch + roles->a + roles->b, e.output);
  return true;
}

bool lower_transpose(Edit& edit, int32_t n, const Equation& e) {
  const Operand& x = e.operands[0];
  if (!std::is_permutation(x.labels.begin(), x.labels.end(), e.output.begin(), e.output.end())) return false;
  put_transpose(edit, n, x.value, x.labels, e.output);
  return true;
}

}  // namespace

Result<Graph> lower_einsum(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  for (int32_t n = 0; n < edit.size(); ++n) {
    if (!edit.alive(n) || !edit.node(n).is("Einsum") || !dtype_is_float(edit.dtype(edit.node(n).out(0)))) continue;
    auto equation = parse(edit, edit.node(n));
    if (!equation) continue;
    if (equation->operands.size() == 1) lower_transpose(edit, n, *equation);
    if (equation->operands.size() == 2) lower_product(edit, n, std::move(*equation));
  }
  return std::move(edit).finish();
}

}  // namespace planish
