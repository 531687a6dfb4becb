// Attention on [batch, heads, length, size] between transposes -> Attention on [batch, length, heads * size], which
// ONNX allows too: the views that bring projections into heads and back disappear. The pass puts the opposite views
// next to the ones that stand there; simplify_views removes both.

#include <array>

#include "planish/passes/edit.h"
#include "planish/passes/pass.h"
#include "planish/passes/symbolic_shapes.h"

namespace planish {
namespace {

constexpr int kMaxViews = 6;

bool is_view(const Node& node) {
  return node.is("Reshape") || node.is("Transpose") || node.is("Squeeze") || node.is("Unsqueeze") || node.is("Flatten");
}

/// A Transpose stands among the views that make `v`.
bool made_by_transpose(const Edit& edit, ValueId v) {
  for (int i = 0; i < kMaxViews; ++i) {
    const int32_t n = edit.producer(v);
    if (n < 0 || !is_view(edit.node(n))) return false;
    if (edit.node(n).is("Transpose")) return true;
    v = edit.node(n).in(0);
  }
  return false;
}

/// A Transpose stands among the views that alone read `v`.
bool read_by_transpose(const Edit& edit, ValueId v) {
  for (int i = 0; i < kMaxViews; ++i) {
    const int32_t n = edit.single_consumer(v);
    if (n < 0 || !is_view(edit.node(n))) return false;
    if (edit.node(n).is("Transpose")) return true;
    v = edit.node(n).out(0);
  }
  return false;
}

const std::vector<int64_t> kSwapHeads{0, 2, 1, 3};

ValueId shape_constant(Edit& edit, const Node& named, const std::vector<int64_t>& dims) {
  return edit.new_constant(std::string(edit.graph().name_of(named.out(0))) + ".shape", Tensor::from_i64(dims));
}

bool pack(Edit& edit, const SymbolicShapes& shapes, int32_t n) {
  const Node node = edit.node(n);
  if (!node.is("Attention") || node.inputs.size() < 3 || node.inputs.size() > 4 || node.outputs.size() != 1)
    return false;
  if (!read_by_transpose(edit, node.out(0))) return false;
  for (size_t i = 0; i < 3; ++i) {
    const Dims* d = shapes.dims(node.in(i));
    if (d == nullptr || d->size() != 4 || !(*d)[1].known || !(*d)[3].known) return false;
    if ((*d)[1].value <= 0 || (*d)[3].value <= 0 || !made_by_transpose(edit, node.in(i))) return false;
  }
  Node packed = node;
  for (size_t i = 0; i < 3; ++i) {
    const Dims& d = *shapes.dims(node.in(i));
    const ValueId rows = edit.insert_op(n, "Transpose", node, {node.in(i)}, {{"perm", kSwapHeads}});
    const ValueId target = shape_constant(edit, node, {0, 0, d[1].value * d[3].value});
    packed.inputs[i] = edit.insert_op(n, "Reshape", node, {rows, target});
  }
  const int64_t q_heads = (*shapes.dims(node.in(0)))[1].value;
  packed.attrs["q_num_heads"] = q_heads;
  packed.attrs["kv_num_heads"] = (*shapes.dims(node.in(1)))[1].value;
  packed.outputs = {edit.new_value(edit.value(node.out(0)).name + "/packed", edit.dtype(node.out(0)))};
  const ValueId target = shape_constant(edit, node, {0, 0, q_heads, (*shapes.dims(node.in(2)))[3].value});
  const ValueId heads = edit.insert_op(n, "Reshape", node, {packed.outputs[0], target});
  edit.insert(n, std::move(packed));
  Node back;
  back.op = "Transpose";
  back.name = node.name;
  back.origins = node.origins;
  back.inputs = {heads};
  back.outputs = node.outputs;
  back.attrs["perm"] = kSwapHeads;
  edit.replace(n, std::move(back));
  return true;
}

}  // namespace

Result<Graph> pack_attention(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  const SymbolicShapes shapes(graph);
  const int32_t count = edit.size();
  for (int32_t n = 0; n < count; ++n)
    if (edit.alive(n)) pack(edit, shapes, n);
  return std::move(edit).finish();
}

}  // namespace planish
