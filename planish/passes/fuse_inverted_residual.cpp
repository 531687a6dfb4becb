// QuantizedConv -> depthwise QuantizedConv -> 1x1 QuantizedConv, nobody else reading what lies between them, becomes
// one QuantizedInvertedResidual: the image in the middle, which has several times as many channels as those around it,
// need not leave the cache then.

#include <array>
#include <optional>

#include "planish/ops/inverted_residual.h"
#include "planish/passes/edit.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

constexpr size_t kX = 0;
constexpr size_t kW = 1;
constexpr size_t kR = 4;

/// The shape of a convolution's constant weights over two spatial axes, or nullptr.
const Shape* weights_of(const Edit& edit, const Node& node) {
  if (!node.is("QuantizedConv", "planish")) return nullptr;
  const Tensor* w = edit.constant(node.in(kW));
  return w != nullptr && w->shape().size() == 4 ? &w->shape() : nullptr;
}

bool is_pointwise(const Edit& edit, const Node& node) {
  const Shape* w = weights_of(edit, node);
  return w != nullptr && (*w)[2] == 1 && (*w)[3] == 1 && node.attr_int("group", 1) == 1;
}

bool is_depthwise(const Edit& edit, const Node& node) {
  const Shape* w = weights_of(edit, node);
  return w != nullptr && (*w)[1] == 1 && (*w)[0] > 1 && node.attr_int("group", 1) == (*w)[0];
}

/// A convolution that only few channels go into, so that the second is the large one: 1x1, or that of a picture.
bool is_first(const Edit& edit, const Node& node) {
  const Shape* w = weights_of(edit, node);
  return w != nullptr && node.attr_int("group", 1) == 1 && (*w)[0] > (*w)[1];
}

/// Bytes come out and nothing is added: what may stay within a fused layer.
bool may_be_inside(const Node& node) { return node.in(kR) == kNoValue && node.attr_string("y_type", "f32") != "f32"; }

/// The node that alone makes what `node` reads; -1 where others read it, too.
int32_t only_maker(const Edit& edit, int32_t n) {
  const ValueId x = edit.node(n).in(kX);
  const int32_t maker = edit.producer(x);
  return maker >= 0 && edit.single_consumer(x) == n && may_be_inside(edit.node(maker)) ? maker : -1;
}

bool fuse(Edit& edit, int32_t n) {
  const Node& project = edit.node(n);
  if (!is_pointwise(edit, project) || project.attr_ints("strides", {1, 1}) != std::vector<int64_t>{1, 1} ||
      project.attr_ints("pads", {0, 0, 0, 0}) != std::vector<int64_t>{0, 0, 0, 0})
    return false;
  const int32_t second = only_maker(edit, n);
  if (second < 0 || !is_depthwise(edit, edit.node(second))) return false;
  const int32_t first = only_maker(edit, second);
  if (first < 0 || !is_first(edit, edit.node(first))) return false;
  const std::array<const Node*, kInvertedResidualParts> parts{&edit.node(first), &edit.node(second), &project};
  Node fused = fused_node("QuantizedInvertedResidual", "planish", {parts.begin(), parts.end()});
  fused.inputs = {parts[0]->in(kX)};
  for (size_t i = 0; i < parts.size(); ++i) {
    for (size_t slot = kW; slot < kR; ++slot) fused.inputs.push_back(parts[i]->in(slot));
    for (const auto& [key, value] : parts[i]->attrs) fused.attrs[kInvertedResidualPrefixes[i] + key] = value;
  }
  if (project.in(kR) != kNoValue) fused.inputs.push_back(project.in(kR));
  fused.outputs = project.outputs;
  edit.remove(first);
  edit.remove(second);
  edit.replace(n, std::move(fused));
  return true;
}

}  // namespace

Result<Graph> fuse_inverted_residual(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  for (int32_t n = 0; n < edit.size(); ++n)
    if (edit.alive(n)) fuse(edit, n);
  return std::move(edit).finish();
}

}  // namespace planish
