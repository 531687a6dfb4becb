#include "planish/tactics/contiguous_parts.h"

#include <algorithm>

#include "planish/ops/op.h"

namespace planish {
namespace {

int64_t product(std::span<const int64_t> dims) {
  int64_t n = 1;
  for (const int64_t d : dims) n *= d;
  return n;
}

/// Number of separate runs of memory that a range along `axis` consists of, in physical order; 1 means contiguous.
int64_t runs_before_axis(const TensorDesc& d, int64_t axis) {
  const auto& s = d.shape;
  const auto a = static_cast<size_t>(axis);
  if (d.layout == Layout::row_major || axis == 0) return product(std::span(s).first(a));
  const int64_t spatial_before = axis >= 2 ? product(std::span(s).subspan(2, a - 2)) : 1;
  if (d.layout == Layout::channels_last)
    return axis == 1 ? s[0] * product(std::span(s).subspan(2)) : s[0] * spatial_before;
  const int64_t block = layout_block(d.layout);
  const int64_t blocks = (s[1] + block - 1) / block;
  return axis == 1 ? s[0] : s[0] * blocks * spatial_before;
}

/// A part along the channel axis of a blocked tensor must be whole blocks.
bool whole_blocks(const TensorDesc& part, int64_t axis, int64_t start) {
  const int64_t block = layout_block(part.layout);
  return axis != 1 || block == 1 || (part.shape[1] % block == 0 && start % block == 0);
}

int64_t normal_axis(int64_t axis, int64_t rank) { return axis < 0 ? axis + rank : axis; }

bool same_layout(const NodeView& view, const TensorDesc& whole) {
  const auto same = [&whole](const TensorDesc& d) { return !d.present() || d.rank() < 2 || d.layout == whole.layout; };
  return std::ranges::all_of(view.outputs, same);
}

/// Bytes from the start of `whole` to index `start` along `axis` (contiguity was checked).
size_t offset_of(const TensorDesc& whole, int64_t axis, int64_t start) {
  TensorDesc before = whole;
  before.shape[static_cast<size_t>(axis)] = start;
  return before.bytes();
}

std::optional<std::vector<Part>> concat_parts(const NodeView& view) {
  const TensorDesc& whole = view.outputs[0];
  const int64_t axis = normal_axis(view.node->attr_int("axis", 0), whole.rank());
  if (axis < 0 || axis >= whole.rank() || runs_before_axis(whole, axis) != 1) return std::nullopt;
  std::vector<Part> parts;
  int64_t start = 0;
  for (size_t i = 0; i < view.inputs.size(); ++i) {
    const TensorDesc& d = view.inputs[i];
    if (!d.present() || d.layout != whole.layout || !whole_blocks(d, axis, start)) return std::nullopt;
    parts.push_back({1, i, offset_of(whole, axis, start), d.bytes()});
    start += d.shape[static_cast<size_t>(axis)];
  }
  return parts;
}

std::optional<std::vector<Part>> split_parts(const NodeView& view) {
  const TensorDesc& whole = view.inputs[0];
  const int64_t axis = normal_axis(view.node->attr_int("axis", 0), whole.rank());
  if (axis < 0 || axis >= whole.rank() || runs_before_axis(whole, axis) != 1 || !same_layout(view, whole))
    return std::nullopt;
  std::vector<Part> parts;
  int64_t start = 0;
  for (size_t i = 0; i < view.outputs.size(); ++i) {
    const TensorDesc& d = view.outputs[i];
    if (!d.present()) return std::nullopt;
    if (!whole_blocks(d, axis, start)) return std::nullopt;
    parts.push_back({0, i, offset_of(whole, axis, start), d.bytes()});
    start += d.shape[static_cast<size_t>(axis)];
  }
  return parts;
}

std::optional<std::vector<Part>> slice_parts(const NodeView& view) {
  const TensorDesc& whole = view.inputs[0];
  const TensorDesc& out = view.outputs[0];
  const auto values = [&view](size_t i) -> std::optional<std::vector<int64_t>> {
    if (i >= view.constants.size() || view.constants[i] == nullptr || view.constants[i]->raw() == nullptr)
      return std::nullopt;
    return view.constants[i]->to_i64();
  };
  const auto starts = values(1);
  if (!starts || !same_layout(view, whole)) return std::nullopt;
  std::vector<int64_t> axes(starts->size());
  for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int64_t>(i);
  if (view.has_input(3)) {
    const auto given = values(3);
    if (!given || given->size() != starts->size()) return std::nullopt;
    axes = *given;
  }
  std::vector<int64_t> steps(starts->size(), 1);
  if (view.has_input(4)) {
    const auto given = values(4);
    if (!given || given->size() != starts->size()) return std::nullopt;
    steps = *given;
  }
  int64_t cut_axis = -1;
  int64_t cut_start = 0;
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t axis = normal_axis(axes[i], whole.rank());
    if (axis < 0 || axis >= whole.rank()) return std::nullopt;
    const int64_t extent = whole.shape[static_cast<size_t>(axis)];
    if (steps[i] != 1) return std::nullopt;
    if (out.shape[static_cast<size_t>(axis)] == extent) continue;
    if (cut_axis >= 0) return std::nullopt;
    cut_axis = axis;
    int64_t start = (*starts)[i];
    if (start < 0) start += extent;
    cut_start = std::clamp<int64_t>(start, 0, extent);
  }
  if (cut_axis < 0) return std::vector<Part>{{0, 0, 0, out.bytes()}};
  if (runs_before_axis(whole, cut_axis) != 1 || !whole_blocks(out, cut_axis, cut_start)) return std::nullopt;
  return std::vector<Part>{{0, 0, offset_of(whole, cut_axis, cut_start), out.bytes()}};
}

/// Dimensions of a tensor from the slowest to the fastest in memory, those of size 1 left out; empty for blocks.
std::vector<int64_t> memory_order(const TensorDesc& d) {
  std::vector<int64_t> order;
  if (layout_block(d.layout) > 1) return order;
  const auto add = [&](int64_t i) {
    if (d.shape[static_cast<size_t>(i)] != 1) order.push_back(i);
  };
  const bool last = d.layout == Layout::channels_last && d.rank() > 2;
  for (int64_t i = 0; i < d.rank(); ++i)
    if (!last || i != 1) add(i);
  if (last) add(1);
  return order;
}

/// A Transpose that changes how dimensions are counted, not how they lie: [N,C,H,W] channels-last is [N,H,W,C].
bool transposes_in_place(const NodeView& view) {
  const TensorDesc& in = view.inputs[0];
  const TensorDesc& out = view.outputs[0];
  std::vector<int64_t> reversed(in.shape.size());
  for (size_t i = 0; i < reversed.size(); ++i) reversed[i] = in.rank() - 1 - static_cast<int64_t>(i);
  const std::vector<int64_t> perm = view.node->attr_ints("perm", reversed);
  if (in.dtype != out.dtype || layout_block(in.layout) > 1 || layout_block(out.layout) > 1) return false;
  if (perm.size() != in.shape.size() || out.rank() != in.rank()) return false;
  std::vector<int64_t> moved = memory_order(out);
  for (int64_t& i : moved) i = perm[static_cast<size_t>(i)];
  return moved == memory_order(in);
}

/// A view that leaves the first two dimensions alone keeps every layout of the rest.
bool regroups_pixels(const TensorDesc& in, const TensorDesc& out) {
  return in.layout == out.layout && in.rank() >= 3 && out.rank() >= 3 && in.shape[0] == out.shape[0] &&
         in.shape[1] == out.shape[1];
}

}  // namespace

bool is_row_major_equivalent(const TensorDesc& d) {
  if (d.layout == Layout::row_major || d.rank() < 2) return true;
  const int64_t spatial = product(std::span(d.shape).subspan(2));
  if (d.layout == Layout::channels_last) return spatial == 1 || d.shape[1] == 1;
  return spatial == 1 && d.shape[1] % layout_block(d.layout) == 0;
}

std::optional<std::vector<Part>> contiguous_parts(const NodeView& view) {
  const Node& node = *view.node;
  if (view.inputs.empty() || view.outputs.empty() || !view.inputs[0].present() || !view.outputs[0].present())
    return std::nullopt;
  if (node.is("Concat")) return concat_parts(view);
  if (node.is("Split")) return split_parts(view);
  if (node.is("Slice")) return slice_parts(view);
  if (node.is("Transpose") && transposes_in_place(view)) return std::vector<Part>{{0, 0, 0, view.outputs[0].bytes()}};
  const OpDecl* op = find_op(node.domain, node.op);
  const bool reformat = node.is("Reformat", "planish");
  if (op == nullptr || (!reformat && (op->traits & kTraitView) == 0)) return std::nullopt;
  const TensorDesc& in = view.inputs[0];
  const TensorDesc& out = view.outputs[0];
  const bool identical = in == out || regroups_pixels(in, out);
  if (in.dtype != out.dtype || in.size() != out.size()) return std::nullopt;
  if (!identical && (!is_row_major_equivalent(in) || !is_row_major_equivalent(out))) return std::nullopt;
  return std::vector<Part>{{0, 0, 0, out.bytes()}};
}

}  // namespace planish
