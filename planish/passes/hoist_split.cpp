// Split behind Reshape and Transpose -> the same views behind Splits of their input, where every part goes on into an
// attention: a joint projection [batch, length, 3 * heads * size] is cut along its last dimension, and the views of the
// parts can then disappear (see pack_attention).

#include <algorithm>

#include "planish/passes/edit.h"
#include "planish/passes/pass.h"
#include "planish/passes/symbolic_shapes.h"

namespace planish {
namespace {

constexpr int kMaxViews = 8;

bool is_view(const Node& node) {
  return node.is("Reshape") || node.is("Transpose") || node.is("Squeeze") || node.is("Unsqueeze");
}

bool feeds_attention(const Edit& edit, ValueId v) {
  for (int i = 0; i < kMaxViews; ++i) {
    const int32_t n = edit.single_consumer(v);
    if (n < 0) return false;
    if (edit.node(n).is("Attention")) return true;
    if (!is_view(edit.node(n))) return false;
    v = edit.node(n).out(0);
  }
  return false;
}

/// Where a Split of a view's output cuts the view's input.
struct Cut {
  int64_t axis = 0;
  int64_t inner = 1;  ///< elements of the input's dimension per index of the output's
};

std::optional<Cut> cut_of(const SymbolicShapes& shapes, const Node& view, int64_t axis) {
  const Dims* from = shapes.dims(view.in(0));
  const Dims* to = shapes.dims(view.out(0));
  if (from == nullptr || to == nullptr) return std::nullopt;
  if (view.is("Transpose")) {
    const auto perm = view.attr_ints("perm");
    if (static_cast<int64_t>(perm.size()) <= axis) return std::nullopt;
    return Cut{.axis = perm[static_cast<size_t>(axis)]};
  }
  // The dimensions in front agree (but for ones) and the input's next dimension begins with the one that is split.
  size_t i = 0;
  for (size_t o = 0; o < static_cast<size_t>(axis); ++o) {
    if ((*to)[o].is(1)) continue;
    while (i < from->size() && (*from)[i].is(1)) ++i;
    if (i == from->size() || !(*from)[i].same((*to)[o])) return std::nullopt;
    ++i;
  }
  while (i < from->size() && (*from)[i].is(1)) ++i;
  if (i == from->size() || !(*from)[i].known) return std::nullopt;
  int64_t product = 1;
  for (auto o = static_cast<size_t>(axis); o < to->size() && product < (*from)[i].value; ++o) {
    if (!(*to)[o].known || (*to)[o].value <= 0) return std::nullopt;
    product *= (*to)[o].value;
  }
  if (product != (*from)[i].value) return std::nullopt;
  return Cut{.axis = static_cast<int64_t>(i), .inner = product / (*to)[static_cast<size_t>(axis)].value};
}

/// Target of the view's Reshape with `size` along `axis`.
std::optional<std::vector<int64_t>> part_shape(const Dims& dims, int64_t axis, int64_t size) {
  std::vector<int64_t> target;
  bool hole = false;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (!dims[i].known && hole) return std::nullopt;
    hole = hole || !dims[i].known;
    target.push_back(static_cast<int64_t>(i) == axis ? size : dims[i].known ? dims[i].value : -1);
  }
  return std::ranges::find(target, 0) == target.end() ? std::optional(target) : std::nullopt;
}

/// The same target when unknown dimensions stand where the input has them.
std::optional<std::vector<int64_t>> copied_shape(const Dims& from, const Dims& to, int64_t axis, int64_t size) {
  std::vector<int64_t> target;
  for (size_t i = 0; i < to.size(); ++i) {
    const bool copied = !to[i].known && i < from.size() && from[i].same(to[i]);
    if ((!to[i].known && !copied) || to[i].is(0)) return std::nullopt;
    target.push_back(static_cast<int64_t>(i) == axis ? size : copied ? 0 : to[i].value);
  }
  return target;
}

/// Sizes of the parts; empty when unknown.
std::vector<int64_t> part_sizes(const Edit& edit, const Node& split, int64_t axis) {
  std::vector<int64_t> sizes;
  for (const ValueId v : split.outputs) {
    const Shape* s = edit.shape(v);
    if (s == nullptr || static_cast<int64_t>(s->size()) <= axis || (*s)[static_cast<size_t>(axis)] <= 0) return {};
    sizes.push_back((*s)[static_cast<size_t>(axis)]);
  }
  return sizes;
}

/// Moves node `n`, a Split, in front of the view that makes its input. Returns the new Split, -1 when nothing moves.
int32_t hoist(Edit& edit, const SymbolicShapes& shapes, int32_t n, int64_t axis, const std::vector<int64_t>& sizes) {
  const Node split = edit.node(n);
  const int32_t maker = edit.producer(split.in(0));
  if (maker < 0 || edit.single_consumer(split.in(0)) != n) return -1;
  const Node view = edit.node(maker);
  if (!view.is("Reshape") && !view.is("Transpose")) return -1;
  const auto cut = cut_of(shapes, view, axis);
  if (!cut) return -1;
  std::vector<std::vector<int64_t>> targets;
  for (const int64_t size : sizes) {
    if (view.is("Transpose")) break;
    auto target = copied_shape(*shapes.dims(view.in(0)), *shapes.dims(view.out(0)), axis, size);
    if (!target) target = part_shape(*shapes.dims(view.out(0)), axis, size);
    if (!target) return -1;
    targets.push_back(*target);
  }
  Node first = split;
  first.attrs = {{"axis", cut->axis}};
  std::vector<int64_t> scaled = sizes;
  for (int64_t& s : scaled) s *= cut->inner;
  first.inputs = {view.in(0), edit.new_constant(edit.value(split.out(0)).name + ".sizes", Tensor::from_i64(scaled))};
  for (ValueId& v : first.outputs) v = edit.new_value(edit.value(v).name + "/part", edit.dtype(v));
  for (size_t i = 0; i < sizes.size(); ++i) {
    Node part = view;
    part.inputs = {first.outputs[i]};
    if (!view.is("Transpose")) {
      part.attrs.clear();
      part.inputs.push_back(
          edit.new_constant(edit.value(split.outputs[i]).name + ".shape", Tensor::from_i64(targets[i])));
    }
    part.outputs = {split.outputs[i]};
    edit.insert(n, std::move(part));
  }
  edit.remove(n);
  edit.remove(maker);
  return edit.insert(n, std::move(first));
}

}  // namespace

Result<Graph> hoist_split(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  const SymbolicShapes shapes(graph);
  const int32_t count = edit.size();
  for (int32_t n = 0; n < count; ++n) {
    if (!edit.alive(n) || !edit.node(n).is("Split")) continue;
    const Node split = edit.node(n);
    if (!std::ranges::all_of(split.outputs, [&](ValueId v) { return v != kNoValue && feeds_attention(edit, v); }))
      continue;
    int64_t axis = split.attr_int("axis", 0);
    if (axis < 0) axis += edit.rank(split.in(0));
    std::vector<int64_t> sizes = axis < 0 ? std::vector<int64_t>{} : part_sizes(edit, split, axis);
    int32_t at = sizes.empty() ? -1 : n;
    while (at >= 0) {
      const Node before = edit.node(at);
      const Node* view = edit.producer(before.in(0)) >= 0 ? &edit.node(edit.producer(before.in(0))) : nullptr;
      const auto cut = view != nullptr && is_view(*view) ? cut_of(shapes, *view, axis) : std::nullopt;
      at = hoist(edit, shapes, at, axis, sizes);
      if (at < 0) break;
      axis = cut->axis;
      for (int64_t& s : sizes) s *= cut->inner;
    }
  }
  return std::move(edit).finish();
}

}  // namespace planish
