// Gather with constant indices that are consecutive -> Slice, a scalar index -> Slice and Squeeze; Gathers that take
// every index of a dimension once -> Split and Squeeze. Exporters write x[i] and x.unbind() as Gather. Only for
// floating-point data: shape arithmetic stays as it is.

#include <algorithm>

#include "planish/passes/edit.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

struct Selection {
  int64_t axis = 0;
  int64_t size = 0;   ///< of the dimension
  int64_t first = 0;  ///< first index
  int64_t count = 0;
  bool scalar = false;
};

std::optional<Selection> selection_of(const Edit& edit, int32_t n) {
  const Node& node = edit.node(n);
  const Tensor* indices = node.is("Gather") ? edit.constant(node.in(1)) : nullptr;
  const Shape* shape = edit.shape(node.in(0));
  if (indices == nullptr || shape == nullptr || indices->rank() > 1 || indices->size() == 0) return std::nullopt;
  if (!dtype_is_float(edit.dtype(node.in(0))) || edit.constant(node.in(0)) != nullptr) return std::nullopt;
  const auto rank = static_cast<int64_t>(shape->size());
  Selection s{.axis = node.attr_int("axis", 0), .count = indices->size(), .scalar = indices->rank() == 0};
  if (s.axis < 0) s.axis += rank;
  if (s.axis < 0 || s.axis >= rank) return std::nullopt;
  s.size = (*shape)[static_cast<size_t>(s.axis)];
  if (s.size < 0) return std::nullopt;
  for (int64_t i = 0; i < s.count; ++i) {
    const int64_t index = indices->int_at(i) + (indices->int_at(i) < 0 ? s.size : 0);
    if (i == 0) s.first = index;
    if (index != s.first + i) return std::nullopt;
  }
  return s.first >= 0 && s.first + s.count <= s.size ? std::optional(s) : std::nullopt;
}

ValueId ints(Edit& edit, const Node& named, std::string_view what, std::vector<int64_t> values) {
  return edit.new_constant(edit.value(named.out(0)).name + "." + std::string(what), Tensor::from_i64(values));
}

/// Puts Squeeze(x, axis) in the place of node `n`.
void squeeze_in_place(Edit& edit, int32_t n, ValueId x, int64_t axis) {
  Node squeeze = edit.node(n);
  squeeze.op = "Squeeze";
  squeeze.attrs.clear();
  squeeze.inputs = {x, ints(edit, squeeze, "axes", {axis})};
  edit.replace(n, std::move(squeeze));
}

void slice(Edit& edit, int32_t n, const Selection& s) {
  const Node node = edit.node(n);
  std::vector<ValueId> inputs{node.in(0), ints(edit, node, "start", {s.first}),
                              ints(edit, node, "end", {s.first + s.count}), ints(edit, node, "axes", {s.axis})};
  if (s.scalar) {
    squeeze_in_place(edit, n, edit.insert_op(n, "Slice", node, std::move(inputs)), s.axis);
    return;
  }
  Node whole = node;
  whole.op = "Slice";
  whole.attrs.clear();
  whole.inputs = std::move(inputs);
  edit.replace(n, std::move(whole));
}

/// Gathers of the same tensor that take each index of the dimension once, ordered by index; empty when they do not.
std::vector<int32_t> unbinding(const Edit& edit, int32_t n, const Selection& s) {
  if (!s.scalar || s.size < 2 || s.size > 64) return {};
  std::vector<int32_t> by_index(static_cast<size_t>(s.size), -1);
  for (const int32_t reader : edit.consumers(edit.node(n).in(0))) {
    const auto other = selection_of(edit, reader);
    if (!other || !other->scalar || other->axis != s.axis) continue;
    int32_t& place = by_index[static_cast<size_t>(other->first)];
    if (place >= 0) return {};
    place = reader;
  }
  return std::ranges::find(by_index, -1) == by_index.end() ? by_index : std::vector<int32_t>{};
}

void split(Edit& edit, const std::vector<int32_t>& gathers, const Selection& s) {
  const int32_t anchor = *std::ranges::min_element(gathers);
  std::vector<const Node*> nodes;
  for (const int32_t n : gathers) nodes.push_back(&edit.node(n));
  Node whole = fused_node("Split", "", nodes);
  whole.attrs["axis"] = s.axis;
  const Node first = edit.node(anchor);
  for (const int32_t n : gathers)
    whole.outputs.push_back(edit.new_value(edit.value(edit.node(n).out(0)).name + "/Split", edit.dtype(first.in(0))));
  whole.inputs = {first.in(0), ints(edit, first, "sizes", std::vector<int64_t>(gathers.size(), 1))};
  const std::vector<ValueId> parts = whole.outputs;
  edit.insert(anchor, std::move(whole));
  for (size_t i = 0; i < gathers.size(); ++i) squeeze_in_place(edit, gathers[i], parts[i], s.axis);
}

}  // namespace

Result<Graph> slice_gathers(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  const int32_t count = edit.size();
  for (int32_t n = 0; n < count; ++n) {
    const auto s = edit.alive(n) ? selection_of(edit, n) : std::nullopt;
    if (!s) continue;
    const std::vector<int32_t> all = unbinding(edit, n, *s);
    if (all.empty())
      slice(edit, n, *s);
    else
      split(edit, all, *s);
  }
  return std::move(edit).finish();
}

}  // namespace planish
