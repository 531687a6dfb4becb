// Folds per-column scales behind a FusedMatMul with constant weights into weights and bias, also when a Transpose
// stands between them: ConvNeXt's layer scale follows the step back to channels-first. Scalar factors of either operand
// and of the product become its `alpha`, Transposes of the last two dimensions its `trans_a` and `trans_b`.

#include <algorithm>
#include <cmath>

#include "planish/passes/match.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

bool is_plain(const Node& node) {
  return node.is("FusedMatMul", "planish") && node.in(3) == kNoValue && node.attr_string("activation", "").empty();
}

/// Values of `t`, which varies along dimension `axis` of a tensor of rank `rank` only and has `size` elements.
bool varies_along(const Tensor& t, int64_t rank, int64_t axis, int64_t size) {
  if (t.rank() > rank || t.size() != size || !dtype_is_float(t.dtype())) return false;
  const int64_t own = axis - (rank - t.rank());
  return own >= 0 && t.dim(own) == size;
}

Tensor scaled(const Tensor& t, const Tensor& scale, int64_t inner) {
  Tensor out(t.dtype(), t.shape());
  for (int64_t i = 0; i < t.size(); ++i) out.set(i, t.at(i) * scale.at(i / inner % scale.size()));
  return out;
}

/// Columns of a product with a constant matrix and no or a constant vector bias, 0 for others.
int64_t foldable_columns(const Edit& edit, const Node& product) {
  const Tensor* w = edit.constant(product.in(1));
  if (!is_plain(product) || w == nullptr || w->rank() != 2 || !dtype_is_float(w->dtype())) return 0;
  const int64_t columns = w->dim(product.attr_int("trans_b", 0) != 0 ? 0 : 1);
  if (product.in(2) == kNoValue) return columns;
  const Tensor* bias = edit.constant(product.in(2));
  return bias != nullptr && bias->rank() == 1 && bias->size() == columns ? columns : 0;
}

/// Mul(Transpose?(product), constant) at node `n`.
bool fold_column_scale(Edit& edit, int32_t n) {
  const Node mul = edit.node(n);
  if (!mul.is("Mul") || mul.inputs.size() != 2) return false;
  const size_t side = edit.constant(mul.in(0)) != nullptr ? 1 : 0;
  const Tensor* scale = edit.constant(mul.in(1 - side));
  const ValueId y = mul.in(side);
  const int64_t rank = edit.rank(y);
  if (scale == nullptr || edit.single_consumer(y) != n || rank < 2) return false;
  const Node* transpose = edit.made_by(y, "Transpose");
  const ValueId source = transpose != nullptr ? transpose->in(0) : y;
  const int32_t maker = edit.producer(source);
  if (maker < 0 || (transpose != nullptr && edit.single_consumer(source) < 0)) return false;
  int64_t axis = rank - 1;
  if (transpose != nullptr) {
    const auto perm = transpose->attr_ints("perm");
    axis = std::find(perm.begin(), perm.end(), rank - 1) - perm.begin();
  }
  const int64_t columns = foldable_columns(edit, edit.node(maker));
  if (columns == 0 || !varies_along(*scale, rank, axis, columns)) return false;
  Node product = edit.node(maker);
  const Tensor gamma = *scale;  // copies share the data: new constants move the values
  const Tensor w = *edit.constant(product.in(1));
  const int64_t inner = product.attr_int("trans_b", 0) != 0 ? w.dim(1) : 1;
  product.inputs[1] = edit.new_constant(edit.value(product.in(1)).name, scaled(w, gamma, inner));
  if (product.in(2) != kNoValue) {
    const Tensor bias = *edit.constant(product.in(2));
    product.inputs[2] = edit.new_constant(edit.value(product.in(2)).name, scaled(bias, gamma, 1));
  }
  product.name = joined_name(product.name, mul.name);
  add_origins(product, mul);
  edit.replace(maker, std::move(product));
  if (!edit.forward(mul.out(0), y)) return false;
  edit.remove(n);
  return true;
}

/// x * factor, as Mul or Div by a scalar.
std::optional<WithScalar> scalar_factor(const Edit& edit, ValueId v) {
  if (const auto mul = with_scalar(edit, v, "Mul")) return mul;
  auto div = with_scalar(edit, v, "Div");
  if (!div || div->scalar == 0) return std::nullopt;
  div->scalar = 1 / div->scalar;
  return div;
}

bool swaps_last_two(const Node& transpose, int64_t rank) {
  auto perm = transpose.attr_ints("perm");
  if (rank < 2 || static_cast<int64_t>(perm.size()) != rank) return false;
  std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  for (size_t i = 0; i < perm.size(); ++i)
    if (perm[i] != static_cast<int64_t>(i)) return false;
  return true;
}

/// Takes a Transpose or a scalar factor from operand `slot` of product `n`.
bool absorb_operand(Edit& edit, int32_t n, size_t slot) {
  const ValueId v = edit.node(n).in(slot);
  const int32_t maker = edit.producer(v);
  if (maker < 0 || edit.single_consumer(v) != n) return false;
  const Node source = edit.node(maker);
  Node product = edit.node(n);
  if (source.is("Transpose") && swaps_last_two(source, edit.rank(v))) {
    const std::string key = slot == 0 ? "trans_a" : "trans_b";
    const int64_t flipped = product.attr_int(key, 0) != 0 ? 0 : 1;
    product.attrs.erase(key);
    if (flipped != 0) product.attrs[key] = flipped;
    product.inputs[slot] = source.in(0);
  } else {
    const auto factor = scalar_factor(edit, v);
    if (!factor) return false;
    product.attrs["alpha"] = static_cast<float>(product.attr_float("alpha", 1) * factor->scalar);
    product.inputs[slot] = factor->x;
  }
  product.name = joined_name(source.name, product.name);
  add_origins(product, source, true);
  edit.replace(n, std::move(product));
  edit.remove_if_unused(maker);
  return true;
}

/// Mul or Div by a scalar behind a product without bias.
bool absorb_result(Edit& edit, int32_t n) {
  const Node product = edit.node(n);
  const int32_t reader = edit.single_consumer(product.out(0));
  if (!is_plain(product) || product.in(2) != kNoValue || reader < 0) return false;
  const Node scale = edit.node(reader);
  const auto factor = scalar_factor(edit, scale.out(0));
  if (!factor || factor->x != product.out(0)) return false;
  Node fused = product;
  fused.attrs["alpha"] = static_cast<float>(product.attr_float("alpha", 1) * factor->scalar);
  fused.name = joined_name(product.name, scale.name);
  add_origins(fused, scale);
  fused.outputs = scale.outputs;
  edit.remove(n);
  edit.replace(reader, std::move(fused));
  return true;
}

}  // namespace

Result<Graph> fold_matmul_scale(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  const int32_t count = edit.size();
  for (int32_t n = 0; n < count; ++n) {
    if (!edit.alive(n) || fold_column_scale(edit, n) || !edit.node(n).is("FusedMatMul", "planish")) continue;
    for (size_t slot = 0; slot < 2; ++slot)
      while (absorb_operand(edit, n, slot)) {
      }
    absorb_result(edit, n);
  }
  return std::move(edit).finish();
}

}  // namespace planish
