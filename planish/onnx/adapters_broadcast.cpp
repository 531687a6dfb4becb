// Before opset 7 binary operators broadcast only when asked to, and `axis` said where the second operand begins.

#include <array>

#include "planish/onnx/adapter.h"

namespace planish {
namespace {

ValueId rank_of(AdaptContext& ctx, ValueId v) { return ctx.emit("Size", {ctx.emit("Shape", {v})}); }

/// Gives B as many trailing dimensions of 1 as numpy broadcasting needs to put its first dimension at `axis` of A.
ValueId align_at_axis(AdaptContext& ctx, ValueId a, ValueId b, int64_t axis) {
  const std::array one{int64_t{1}};
  const int64_t known_a = ctx.declared_rank(a);
  const int64_t known_b = ctx.declared_rank(b);
  ValueId ones = kNoValue;
  if (known_a >= 0 && known_b >= 0) {
    const int64_t count = known_a - (axis < 0 ? axis + known_a : axis) - known_b;
    if (count <= 0) return b;
    ones = ctx.constant("ones", Tensor::from_i64(std::vector<int64_t>(static_cast<size_t>(count), 1)));
  } else {
    const ValueId start = ctx.constant("axis", Tensor::scalar_i64(axis));
    const ValueId behind = axis < 0 ? ctx.emit("Neg", {start}) : ctx.emit("Sub", {rank_of(ctx, a), start});
    const ValueId count = ctx.emit("Sub", {behind, rank_of(ctx, b)});
    const ValueId count_1d = ctx.emit("Reshape", {count, ctx.constant("vector", Tensor::from_i64(one))});
    ones = ctx.emit("ConstantOfShape", {count_1d}, {{"value", Tensor::from_i64(one)}});
  }
  const ValueId target = ctx.emit("Concat", {ctx.emit("Shape", {b}), ones}, {{"axis", int64_t{0}}});
  return ctx.emit("Reshape", {b, target});
}

Status explicit_broadcast(AdaptContext& ctx) {
  Node& n = ctx.node;
  if (n.attr_int("broadcast", 0) != 0 && n.has_attr("axis") && n.inputs.size() == 2)
    n.inputs[1] = align_at_axis(ctx, n.inputs[0], n.inputs[1], n.attr_int("axis", 0));
  n.attrs.erase("broadcast");
  n.attrs.erase("axis");
  return {};
}

/// Opset 1 allowed in-place hints.
Status drop_consumed_inputs(AdaptContext& ctx) {
  ctx.node.attrs.erase("consumed_inputs");
  return {};
}

/// PRelu-6: a slope per channel, aligned with dimension 1 instead of the last one.
Status prelu_slope_per_channel(AdaptContext& ctx) {
  if (ctx.declared_rank(ctx.node.in(1)) == 1 && ctx.graph.value(ctx.node.in(1)).shape->front() != 1)
    ctx.node.inputs[1] = align_at_axis(ctx, ctx.node.in(0), ctx.node.in(1), 1);
  return {};
}

constexpr std::array kRows{
    Adapter{"Add", 1, 6, explicit_broadcast},     Adapter{"Add", 1, 5, drop_consumed_inputs},
    Adapter{"And", 1, 6, explicit_broadcast},     Adapter{"Div", 1, 6, explicit_broadcast},
    Adapter{"Div", 1, 5, drop_consumed_inputs},   Adapter{"Equal", 1, 6, explicit_broadcast},
    Adapter{"Greater", 1, 6, explicit_broadcast}, Adapter{"Less", 1, 6, explicit_broadcast},
    Adapter{"Mul", 1, 6, explicit_broadcast},     Adapter{"Mul", 1, 5, drop_consumed_inputs},
    Adapter{"Or", 1, 6, explicit_broadcast},      Adapter{"PRelu", 1, 6, prelu_slope_per_channel},
    Adapter{"Pow", 1, 6, explicit_broadcast},     Adapter{"Sub", 1, 6, explicit_broadcast},
    Adapter{"Sub", 1, 5, drop_consumed_inputs},   Adapter{"Xor", 1, 6, explicit_broadcast},
};

}  // namespace

std::span<const Adapter> broadcast_adapters() { return kRows; }

}  // namespace planish
