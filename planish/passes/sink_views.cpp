// Moves a Reshape or Transpose that keeps the last dimension from in front of a FusedMatMul with a plain matrix to
// behind it, where another view follows: exporters flatten [batch, length, K] to [batch * length, K] for a Gemm and
// view the result back. simplify_views then removes the pair. QuantizeLinear and DequantizeLinear of whole tensors
// between the view and the product stay in front of the product.

#include "planish/passes/edit.h"
#include "planish/passes/pass.h"
#include "planish/passes/symbolic_shapes.h"

namespace planish {
namespace {

bool is_view(const Node& node) { return node.is("Reshape") || node.is("Transpose"); }

/// The view keeps rows whole: its last dimension is the source's last one.
bool keeps_last(const SymbolicShapes& shapes, const Node& view) {
  const Dims* from = shapes.dims(view.in(0));
  const Dims* to = shapes.dims(view.out(0));
  if (from == nullptr || to == nullptr || from->size() < 2 || to->size() < 2) return false;
  if (view.is("Reshape")) return from->back().known && from->back().same(to->back());
  const auto perm = view.attr_ints("perm");
  return !perm.empty() && perm.back() == static_cast<int64_t>(from->size()) - 1;
}

/// Reshape target like that of `view` with `columns` as its last dimension.
std::optional<std::vector<int64_t>> target_behind(const Edit& edit, const Node& view, int64_t columns) {
  const Tensor* t = edit.constant(view.in(1));
  if (t == nullptr || t->size() == 0 || view.attr_int("allowzero", 0) != 0) return std::nullopt;
  std::vector<int64_t> target = t->to_i64();
  if (target.back() == -1) return std::nullopt;
  target.back() = columns;
  return target;
}

/// A QuantizeLinear or DequantizeLinear of a whole tensor, which does not care how its elements are arranged.
bool is_whole_qdq(const Edit& edit, const Node& node) {
  if (!node.is("QuantizeLinear") && !node.is("DequantizeLinear")) return false;
  const Tensor* scale = edit.constant(node.in(1));
  return scale != nullptr && scale->size() == 1;
}

/// The nodes between a view and the product that reads it, the product's own operand first; empty where there is no
/// view, or somebody else reads what lies between.
struct Path {
  std::vector<int32_t> between;
  int32_t view = -1;
};
Path path_from_view(const Edit& edit, int32_t product) {
  Path path;
  int32_t reader = product;
  for (int32_t n = edit.producer(edit.node(product).in(0)); n >= 0; n = edit.producer(edit.node(n).in(0))) {
    if (is_view(edit.node(n))) {
      path.view = n;
      return path;
    }
    if (!is_whole_qdq(edit, edit.node(n)) || edit.single_consumer(edit.node(n).out(0)) != reader) break;
    path.between.push_back(n);
    reader = n;
  }
  return {};
}

bool sink(Edit& edit, const SymbolicShapes& shapes, int32_t n) {
  const Node product = edit.node(n);
  if (!product.is("FusedMatMul", "planish") || product.attr_int("trans_a", 0) != 0 || product.in(3) != kNoValue)
    return false;
  const Path path = path_from_view(edit, n);
  const int32_t reader = edit.single_consumer(product.out(0));
  if (path.view < 0 || reader < 0 || !is_view(edit.node(reader))) return false;
  const Node view = edit.node(path.view);
  const Shape* b = edit.shape(product.in(1));
  const bool vector_bias = product.in(2) == kNoValue || edit.rank(product.in(2)) == 1;
  if (b == nullptr || b->size() != 2 || !vector_bias || !keeps_last(shapes, view)) return false;
  const int64_t columns = (*b)[product.attr_int("trans_b", 0) != 0 ? 0 : 1];
  if (columns < 0) return false;
  Node behind = view;
  if (view.is("Reshape")) {
    const auto target = target_behind(edit, view, columns);
    if (!target) return false;
    behind.inputs[1] = edit.new_constant(edit.value(product.out(0)).name + ".shape", Tensor::from_i64(*target));
  }
  Node moved = product;
  moved.inputs[0] = view.in(0);
  for (auto between = path.between.rbegin(); between != path.between.rend(); ++between) {
    Node step = edit.node(*between);
    const ValueId before = step.out(0);
    step.inputs[0] = moved.in(0);
    moved.inputs[0] = edit.new_value(edit.value(before).name + "/rows", edit.dtype(before));
    step.outputs = {moved.in(0)};
    edit.insert(n, std::move(step));
  }
  moved.outputs = {edit.new_value(edit.value(product.out(0)).name + "/rows", edit.dtype(product.out(0)))};
  behind.inputs[0] = moved.outputs[0];
  behind.outputs = product.outputs;
  edit.insert(n, std::move(moved));
  edit.replace(n, std::move(behind));
  edit.remove_if_unused(path.between.empty() ? path.view : path.between[0]);
  return true;
}

}  // namespace

Result<Graph> sink_views(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  const SymbolicShapes shapes(graph);
  const int32_t count = edit.size();
  for (int32_t n = 0; n < count; ++n)
    if (edit.alive(n)) sink(edit, shapes, n);
  return std::move(edit).finish();
}

}  // namespace planish
