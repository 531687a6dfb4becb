// Writes Reshape and Expand targets as constants where dimensions that come from Shape chains are provably those of
// the input: 0 ("as the input") or one -1 for Reshape, 1 ("keep") for Expand. Squeeze, Unsqueeze and Flatten become
// Reshape when that is possible in the same way. The Shape chains are then dead code.

#include <algorithm>

#include "planish/passes/edit.h"
#include "planish/passes/pass.h"
#include "planish/passes/symbolic_shapes.h"

namespace planish {
namespace {

bool is_any(const Node& node, std::initializer_list<std::string_view> ops) {
  return node.domain.empty() && std::ranges::find(ops, node.op) != ops.end();
}

/// The target that makes `in` a tensor of dimensions `out`.
std::optional<std::vector<int64_t>> reshape_target(const Dims& in, const Dims& out) {
  std::vector<int64_t> target;
  bool hole = false;
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i].known && out[i].value != 0) {
      target.push_back(out[i].value);
    } else if (i < in.size() && out[i].same(in[i])) {
      target.push_back(0);
    } else {
      if (hole || out[i].known) return std::nullopt;
      hole = true;
      target.push_back(-1);
    }
  }
  return target;
}

std::optional<std::vector<int64_t>> expand_target(const Dims& in, const Dims& out) {
  std::vector<int64_t> target;
  for (size_t i = 0; i < out.size(); ++i) {
    const size_t skipped = out.size() - in.size();
    const bool kept = i >= skipped && out[i].same(in[i - skipped]);
    if (!kept && !out[i].known) return std::nullopt;
    target.push_back(kept ? 1 : out[i].value);
  }
  return target;
}

void rewrite(Edit& edit, const SymbolicShapes& shapes, int32_t n) {
  const Node& node = edit.node(n);
  const bool expand = node.is("Expand");
  const bool view = is_any(node, {"Reshape", "Squeeze", "Unsqueeze", "Flatten"});
  if (!expand && !view) return;
  const Dims* in = shapes.dims(node.in(0));
  const Dims* out = shapes.dims(node.out(0));
  if (in == nullptr || out == nullptr || (expand && in->size() > out->size())) return;
  const auto target = expand ? expand_target(*in, *out) : reshape_target(*in, *out);
  if (!target) return;
  const Tensor* present = edit.constant(node.in(1));
  const bool same = !is_any(node, {"Squeeze", "Unsqueeze", "Flatten"}) && present != nullptr &&
                    present->dtype() == DType::i64 && present->to_i64() == *target &&
                    node.attr_int("allowzero", 0) == 0;
  if (same) return;
  Node whole = node;
  whole.op = expand ? "Expand" : "Reshape";
  whole.attrs.clear();
  whole.inputs = {node.in(0), edit.new_constant(edit.value(node.out(0)).name + ".shape", Tensor::from_i64(*target))};
  edit.replace_pattern(n, std::move(whole));
}

}  // namespace

Result<Graph> static_shape_inputs(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  const SymbolicShapes shapes(graph);
  for (int32_t n = 0; n < edit.size(); ++n)
    if (edit.alive(n)) rewrite(edit, shapes, n);
  return std::move(edit).finish();
}

}  // namespace planish
