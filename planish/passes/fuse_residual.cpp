// Add(FusedConv or FusedMatMul, r) with operands of the same shape -> r becomes the product's residual input: before
// the activation when there is none yet (so that one behind the sum can still be fused), else behind it.

#include "planish/passes/edit.h"
#include "planish/passes/pass.h"
#include "planish/passes/symbolic_shapes.h"

namespace planish {
namespace {

bool takes_residual(const Edit& edit, ValueId y, int32_t add) {
  const int32_t n = edit.producer(y);
  if (n < 0 || edit.single_consumer(y) != add) return false;
  const Node& product = edit.node(n);
  return (product.is("FusedConv", "planish") || product.is("FusedMatMul", "planish")) && product.in(3) == kNoValue;
}

bool fuse(Edit& edit, const SymbolicShapes& shapes, int32_t n) {
  const Node& add = edit.node(n);
  if (!add.is("Add") || add.inputs.size() != 2 || add.in(0) == add.in(1)) return false;
  if (!shapes.same_shape(add.in(0), add.in(1)) || edit.dtype(add.in(0)) != edit.dtype(add.in(1))) return false;
  const bool first = takes_residual(edit, add.in(0), n);
  const bool second = takes_residual(edit, add.in(1), n);
  if (!first && !second) return false;
  // Of two candidates the later one takes the other's result, which is ready by then.
  const bool use_first = first && (!second || edit.producer(add.in(0)) > edit.producer(add.in(1)));
  const ValueId y = add.in(use_first ? 0 : 1);
  const ValueId residual = add.in(use_first ? 1 : 0);
  const int32_t maker = edit.producer(y);
  Node fused = edit.node(maker);
  fused.name = joined_name(fused.name, add.name);
  add_origins(fused, add);
  fused.inputs.resize(4, kNoValue);
  fused.inputs[3] = residual;
  if (!fused.attr_string("activation", "").empty()) fused.attrs["residual_last"] = int64_t{1};
  fused.outputs = add.outputs;
  edit.remove(maker);
  edit.replace(n, std::move(fused));
  return true;
}

}  // namespace

Result<Graph> fuse_residual(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  const SymbolicShapes shapes(graph);
  for (int32_t n = 0; n < edit.size(); ++n)
    if (edit.alive(n)) fuse(edit, shapes, n);
  return std::move(edit).finish();
}

}  // namespace planish
