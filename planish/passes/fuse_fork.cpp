// Two integer convolutions that read the same image and whose results a Concat puts one behind the other become one
// QuantizedFork: it writes both where they belong, instead of copying every pixel afterwards.

#include <array>

#include "planish/ops/quantized_fork.h"
#include "planish/passes/edit.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

constexpr size_t kW = 1;
constexpr size_t kScale = 2;
constexpr size_t kBias = 3;
constexpr size_t kR = 4;

/// True when the input is absent or a constant of `type`.
bool is_constant(const Edit& edit, ValueId v, DType type) {
  if (v == kNoValue) return true;
  const Tensor* t = edit.constant(v);
  return t != nullptr && t->dtype() == type;
}

/// True for what every machine's fast integer convolutions take. A fork of others would be left to the reference, while
/// they may have kernels of their own alone (grouped and depthwise ones do).
bool is_fast(const Edit& edit, const Node& node) {
  constexpr int64_t kMaxInner = 65000;  // sums of this many products of bytes fit 32 bits
  const Tensor* w = edit.constant(node.in(kW));
  return w != nullptr && w->rank() == 4 && w->dtype() == DType::i8 && node.attr_int("group", 1) == 1 &&
         w->size() <= kMaxInner * w->dim(0) && is_constant(edit, node.in(kScale), DType::f32) &&
         is_constant(edit, node.in(kBias), DType::f32);
}

/// An integer convolution over two axes that makes bytes, adds nothing, and that only the Concat reads; else -1.
int32_t part_of(const Edit& edit, ValueId v) {
  const int32_t n = edit.producer(v);
  if (n < 0 || edit.single_consumer(v) < 0) return -1;
  const Node& node = edit.node(n);
  if (!node.is("QuantizedConv", "planish") || node.in(kR) != kNoValue) return -1;
  return is_fast(edit, node) && node.attr_string("y_type", "f32") != "f32" ? n : -1;
}

void fuse(Edit& edit, int32_t n) {
  const Node& concat = edit.node(n);
  if (!concat.is("Concat") || concat.inputs.size() != kForkParts || edit.rank(concat.in(0)) != 4) return;
  const int64_t axis = concat.attr_int("axis", 0);
  const std::array<int32_t, kForkParts> made{part_of(edit, concat.in(0)), part_of(edit, concat.in(1))};
  if ((axis != 1 && axis != -3) || made[0] < 0 || made[1] < 0 || made[0] == made[1]) return;
  const std::array<const Node*, kForkParts> parts{&edit.node(made[0]), &edit.node(made[1])};
  if (parts[0]->in(0) != parts[1]->in(0) || parts[0]->attr_string("y_type", "") != parts[1]->attr_string("y_type", ""))
    return;
  Node fused = fused_node("QuantizedFork", "planish", {parts[0], parts[1], &concat});
  fused.inputs = {parts[0]->in(0)};
  for (size_t i = 0; i < parts.size(); ++i) {
    for (size_t slot = kW; slot < kR; ++slot) fused.inputs.push_back(parts[i]->in(slot));
    for (const auto& [key, value] : parts[i]->attrs) fused.attrs[kForkPrefixes[i] + key] = value;
  }
  while (fused.inputs.back() == kNoValue) fused.inputs.pop_back();
  fused.outputs = concat.outputs;
  edit.remove(made[0]);
  edit.remove(made[1]);
  edit.replace(n, std::move(fused));
}

}  // namespace

Result<Graph> fuse_fork(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  for (int32_t n = 0; n < edit.size(); ++n)
    if (edit.alive(n)) fuse(edit, n);
  return std::move(edit).finish();
}

}  // namespace planish
