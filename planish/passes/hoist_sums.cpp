// Add(Transpose(FusedMatMul), x) -> Transpose(Add(FusedMatMul, Transpose(x))): the product can then take the sum as its
// residual. Blocks that go to channels-last order for their linear layers and back (ConvNeXt) lose both transposes
// between one block and the next; one in front of the first block remains.

#include "planish/passes/edit.h"
#include "planish/passes/pass.h"
#include "planish/passes/symbolic_shapes.h"

namespace planish {
namespace {

std::vector<int64_t> inverse(const std::vector<int64_t>& perm) {
  std::vector<int64_t> out(perm.size());
  for (size_t i = 0; i < perm.size(); ++i) out[static_cast<size_t>(perm[i])] = static_cast<int64_t>(i);
  return out;
}

/// The Transpose that makes `v` of a product without residual, both read by nothing else; -1 otherwise.
int32_t transposed_product(const Edit& edit, ValueId v, int32_t reader) {
  const int32_t n = edit.producer(v);
  if (n < 0 || edit.single_consumer(v) != reader || !edit.node(n).is("Transpose")) return -1;
  const ValueId y = edit.node(n).in(0);
  const Node* product = edit.made_by(y, "FusedMatMul", "planish");
  const bool free = product != nullptr && edit.single_consumer(y) == n && product->in(3) == kNoValue;
  return free && !edit.node(n).attr_ints("perm").empty() ? n : -1;
}

bool hoist(Edit& edit, const SymbolicShapes& shapes, int32_t n) {
  const Node add = edit.node(n);
  if (!add.is("Add") || add.inputs.size() != 2 || !shapes.same_shape(add.in(0), add.in(1))) return false;
  for (size_t i = 0; i < 2; ++i) {
    const int32_t at = transposed_product(edit, add.in(i), n);
    const ValueId other = add.in(1 - i);
    if (at < 0 || other == add.in(i) || edit.constant(other) != nullptr) continue;
    const Node transpose = edit.node(at);
    const ValueId residual =
        edit.insert_op(n, "Transpose", transpose, {other}, {{"perm", inverse(transpose.attr_ints("perm"))}});
    const ValueId sum = edit.insert_op(n, "Add", add, {transpose.in(0), residual});
    Node behind = transpose;
    behind.inputs = {sum};
    behind.outputs = add.outputs;
    edit.replace(n, std::move(behind));
    edit.remove_if_unused(at);
    return true;
  }
  return false;
}

}  // namespace

Result<Graph> hoist_sums(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  const SymbolicShapes shapes(graph);
  const int32_t count = edit.size();
  for (int32_t n = 0; n < count; ++n)
    if (edit.alive(n)) hoist(edit, shapes, n);
  return std::move(edit).finish();
}

}  // namespace planish
