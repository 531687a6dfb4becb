// ReduceMean over all spatial dimensions of [N,C,...] -> GlobalAveragePool, without keepdims followed by a Squeeze:
// pools have implementations for every layout. Only for images [N,C,H,W].

#include <algorithm>

#include "planish/passes/edit.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

bool rewrite(Edit& edit, int32_t n) {
  const Node node = edit.node(n);
  if (!node.is("ReduceMean") || edit.rank(node.in(0)) != 4 || !dtype_is_float(edit.dtype(node.in(0)))) return false;
  const Tensor* axes = edit.constant(node.in(1));
  if (axes == nullptr) return false;
  std::vector<int64_t> dims = axes->to_i64();
  for (int64_t& d : dims) d += d < 0 ? 4 : 0;
  std::ranges::sort(dims);
  if (dims != std::vector<int64_t>{2, 3}) return false;
  Node pool = node;
  pool.op = "GlobalAveragePool";
  pool.attrs.clear();
  pool.inputs = {node.in(0)};
  if (node.attr_int("keepdims", 1) != 0) {
    edit.replace(n, std::move(pool));
    return true;
  }
  Node squeeze = node;
  squeeze.op = "Squeeze";
  squeeze.attrs.clear();
  const ValueId mean = edit.insert_op(n, pool.op, node, pool.inputs);
  squeeze.inputs = {mean, edit.new_constant(edit.value(node.out(0)).name + ".axes", Tensor::from_i64(dims))};
  edit.replace(n, std::move(squeeze));
  return true;
}

}  // namespace

Result<Graph> pool_reductions(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  const int32_t count = edit.size();
  for (int32_t n = 0; n < count; ++n)
    if (edit.alive(n)) rewrite(edit, n);
  return std::move(edit).finish();
}

}  // namespace planish
