// FusedMatMuls that multiply the same tensor by constant matrices -> one wider FusedMatMul and a Split: the query, key
// and value projections of attention read their input once and fill the machine better.

#include <algorithm>
#include <cstring>

#include "planish/passes/edit.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

/// A product by a constant [K,N] (or [N,K] with trans_b) matrix with no bias or a constant vector of N.
bool is_mergeable(const Edit& edit, int32_t n) {
  const Node& node = edit.node(n);
  if (!node.is("FusedMatMul", "planish") || node.in(3) != kNoValue || node.attr_int("trans_a", 0) != 0) return false;
  const Tensor* w = edit.constant(node.in(1));
  if (w == nullptr || w->rank() != 2 || w->size() == 0 || !dtype_is_float(w->dtype())) return false;
  if (node.in(2) == kNoValue) return true;
  const Tensor* bias = edit.constant(node.in(2));
  const int64_t columns = w->dim(node.attr_int("trans_b", 0) != 0 ? 0 : 1);
  return bias != nullptr && bias->rank() == 1 && bias->dim(0) == columns && bias->dtype() == w->dtype();
}

bool fit_together(const Edit& edit, const Node& a, const Node& b) {
  if (a.attrs.size() != b.attrs.size() || a.attr_int("trans_b", 0) != b.attr_int("trans_b", 0)) return false;
  if (a.attr_float("alpha", 1) != b.attr_float("alpha", 1)) return false;
  for (const char* key : {"activation", "act_approximate"})
    if (a.attr_string(key, "") != b.attr_string(key, "")) return false;
  for (const char* key : {"act_alpha", "act_beta"})
    if (a.has_attr(key) != b.has_attr(key) || a.attr_float(key, 0) != b.attr_float(key, 0)) return false;
  return edit.constant(a.in(1))->dtype() == edit.constant(b.in(1))->dtype();
}

/// Matrices side by side; rows one after the other when `by_rows`.
Tensor joined(const std::vector<const Tensor*>& parts, bool by_rows) {
  Shape shape = parts[0]->shape();
  int64_t& total = shape[by_rows ? 0 : 1];
  total = 0;
  for (const Tensor* t : parts) total += t->dim(by_rows ? 0 : 1);
  Tensor out(parts[0]->dtype(), shape);
  auto* to = static_cast<std::byte*>(out.raw());
  const int64_t rows = by_rows ? 1 : shape[0];
  for (int64_t r = 0; r < rows; ++r) {
    for (const Tensor* t : parts) {
      const size_t bytes = t->bytes() / static_cast<size_t>(rows);
      std::memcpy(to, static_cast<const std::byte*>(t->raw()) + static_cast<size_t>(r) * bytes, bytes);
      to += bytes;
    }
  }
  return out;
}

/// Biases one after the other, zeros for absent ones.
Tensor joined_biases(const Edit& edit, const std::vector<int32_t>& group, const std::vector<int64_t>& sizes,
                     DType dtype, int64_t total) {
  Tensor out(dtype, {total});
  int64_t at = 0;
  for (size_t i = 0; i < group.size(); ++i) {
    const Tensor* bias = edit.constant(edit.node(group[i]).in(2));
    for (int64_t c = 0; bias != nullptr && c < sizes[i]; ++c) out.set(at + c, bias->at(c));
    at += sizes[i];
  }
  return out;
}

void merge(Edit& edit, const std::vector<int32_t>& group) {
  const Node first = edit.node(group[0]);
  const bool by_rows = first.attr_int("trans_b", 0) != 0;
  std::vector<const Tensor*> weights;
  std::vector<const Node*> nodes;
  std::vector<int64_t> sizes;
  bool has_bias = false;
  Node split;
  for (const int32_t n : group) {
    const Node& node = edit.node(n);
    nodes.push_back(&node);
    weights.push_back(edit.constant(node.in(1)));
    sizes.push_back(weights.back()->dim(by_rows ? 0 : 1));
    has_bias = has_bias || node.in(2) != kNoValue;
    split.outputs.push_back(node.out(0));
  }
  Node whole = fused_node("FusedMatMul", "planish", nodes);
  whole.attrs = first.attrs;
  Tensor w = joined(weights, by_rows);
  const DType dtype = w.dtype();
  const int64_t columns = w.dim(by_rows ? 0 : 1);
  whole.inputs = {first.in(0), edit.new_constant(edit.value(first.in(1)).name + ".merged", std::move(w))};
  if (has_bias)
    whole.inputs.push_back(
        edit.new_constant(edit.value(whole.in(1)).name + ".bias", joined_biases(edit, group, sizes, dtype, columns)));
  split.op = "Split";
  split.name = whole.name;
  split.origins = whole.origins;
  split.attrs["axis"] = int64_t{-1};
  whole.outputs = {edit.new_value(edit.value(first.out(0)).name + "/merged", edit.dtype(first.out(0)))};
  split.inputs = {whole.outputs[0],
                  edit.new_constant(edit.value(first.out(0)).name + "/sizes", Tensor::from_i64(sizes))};
  edit.insert(group[0], std::move(whole));
  for (size_t i = 1; i < group.size(); ++i) edit.remove(group[i]);
  edit.replace(group[0], std::move(split));
}

}  // namespace

Result<Graph> merge_matmuls(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  const int32_t count = edit.size();
  for (int32_t n = 0; n < count; ++n) {
    if (!edit.alive(n) || !is_mergeable(edit, n)) continue;
    const ValueId x = edit.node(n).in(0);
    std::vector<int32_t> group{n};
    for (const int32_t other : edit.consumers(x))
      if (other > n && other < count && edit.node(other).in(0) == x && is_mergeable(edit, other) &&
          fit_together(edit, edit.node(n), edit.node(other)) && std::ranges::find(group, other) == group.end())
        group.push_back(other);
    if (group.size() > 1) merge(edit, group);
  }
  return std::move(edit).finish();
}

}  // namespace planish
