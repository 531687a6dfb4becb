// Conv -> planish.FusedConv; ConvTranspose -> planish.FusedConvTranspose; MatMul, MatMul + bias and Gemm ->
// planish.FusedMatMul: the forms that take activations and residuals. Integer products, products with a vector and
// Gemms whose beta cannot be folded stay.

#include "planish/passes/edit.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

bool is_float(const Edit& edit, ValueId v) { return v != kNoValue && dtype_is_float(edit.dtype(v)); }

bool lower_conv(Edit& edit, int32_t n) {
  const bool transposed = edit.node(n).is("ConvTranspose");
  if ((!transposed && !edit.node(n).is("Conv")) || !is_float(edit, edit.node(n).out(0))) return false;
  Node fused = edit.node(n);
  fused.op = transposed ? "FusedConvTranspose" : "FusedConv";
  fused.domain = "planish";
  edit.replace(n, std::move(fused));
  return true;
}

/// Gemm's C times beta, kNoValue when absent; nullopt when beta is not 1 and C is no constant.
std::optional<ValueId> scaled_bias(Edit& edit, const Node& gemm) {
  const ValueId c = gemm.in(2);
  const float beta = gemm.attr_float("beta", 1);
  if (c == kNoValue || beta == 0) return kNoValue;
  if (beta == 1) return c;
  const Tensor* t = edit.constant(c);
  if (t == nullptr) return std::nullopt;
  Tensor scaled = t->clone();
  for (int64_t i = 0; i < scaled.size(); ++i) scaled.set(i, t->at(i) * beta);
  return edit.new_constant(edit.value(c).name, std::move(scaled));
}

bool lower_gemm(Edit& edit, int32_t n) {
  const Node gemm = edit.node(n);
  if (!gemm.is("Gemm") || !is_float(edit, gemm.out(0))) return false;
  const auto bias = scaled_bias(edit, gemm);
  if (!bias) return false;
  Node fused = gemm;
  fused.op = "FusedMatMul";
  fused.domain = "planish";
  fused.inputs = {gemm.in(0), gemm.in(1)};
  if (*bias != kNoValue) fused.inputs.push_back(*bias);
  fused.attrs.clear();
  if (gemm.attr_int("transA", 0) != 0) fused.attrs["trans_a"] = int64_t{1};
  if (gemm.attr_int("transB", 0) != 0) fused.attrs["trans_b"] = int64_t{1};
  if (gemm.attr_float("alpha", 1) != 1) fused.attrs["alpha"] = gemm.attr_float("alpha", 1);
  edit.replace(n, std::move(fused));
  return true;
}

bool lower_matmul(Edit& edit, int32_t n) {
  const Node& matmul = edit.node(n);
  if (!matmul.is("MatMul") || !is_float(edit, matmul.out(0))) return false;
  if (edit.rank(matmul.in(0)) < 2 || edit.rank(matmul.in(1)) < 2) return false;
  Node fused = matmul;
  fused.op = "FusedMatMul";
  fused.domain = "planish";
  edit.replace(n, std::move(fused));
  return true;
}

/// The other operand of an Add of `y` when it is a vector along its last dimension of size `columns`.
ValueId bias_operand(Edit& edit, const Node& add, ValueId y, int64_t columns) {
  const ValueId other = add.in(0) == y ? add.in(1) : add.in(0);
  const Shape* shape = edit.shape(other);
  if (other == y || shape == nullptr || shape->empty() || shape->back() != columns || edit.rank(y) < edit.rank(other))
    return kNoValue;
  if (shape->size() == 1) return other;
  const Tensor* t = edit.constant(other);
  if (t == nullptr || t->size() != columns) return kNoValue;
  return edit.new_constant(edit.value(other).name, t->reshaped({columns}));
}

bool fuse_bias(Edit& edit, int32_t n) {
  const Node& product = edit.node(n);
  if (!product.is("FusedMatMul", "planish") || product.inputs.size() != 2 || product.has_attr("activation"))
    return false;
  const ValueId y = product.out(0);
  const int32_t reader = edit.single_consumer(y);
  const Shape* b = edit.shape(product.in(1));
  if (reader < 0 || !edit.node(reader).is("Add") || b == nullptr || b->size() < 2) return false;
  const int64_t columns = (*b)[b->size() - (product.attr_int("trans_b", 0) != 0 ? 2 : 1)];
  if (columns < 0) return false;
  const ValueId bias = bias_operand(edit, edit.node(reader), y, columns);
  if (bias == kNoValue) return false;
  Node fused = edit.node(n);
  fused.name = joined_name(fused.name, edit.node(reader).name);
  add_origins(fused, edit.node(reader));
  fused.inputs.push_back(bias);
  fused.outputs = edit.node(reader).outputs;
  edit.remove(n);
  edit.replace(reader, std::move(fused));
  return true;
}

}  // namespace

Result<Graph> lower(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  for (int32_t n = 0; n < edit.size(); ++n) {
    if (!edit.alive(n)) continue;
    if (lower_conv(edit, n) || lower_gemm(edit, n)) continue;
    lower_matmul(edit, n);
    fuse_bias(edit, n);
  }
  return std::move(edit).finish();
}

}  // namespace planish
