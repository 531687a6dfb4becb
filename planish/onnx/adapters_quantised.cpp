// Operators on quantised tensors, of the default domain and of ONNX Runtime's: each becomes the float operator between
// DequantizeLinear and QuantizeLinear. Matrix products are in adapters_quantised_matmul.cpp.
// https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md

#include <fmt/format.h>

#include <array>
#include <string>
#include <utility>

#include "planish/onnx/quantised_forms.h"

namespace planish {
namespace {

constexpr int64_t kAll = 1000;  // any opset

/// DequantizeLinear of input `i`, whose scale and zero point follow it.
ValueId dequantized_input(AdaptContext& ctx, size_t i) {
  return dequantize(ctx, ctx.node.in(i), {ctx.node.in(i + 1), ctx.node.in(i + 2)});
}

/// Inputs x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, B (int32, in units of x_scale * w_scale).
Status qlinear_conv(AdaptContext& ctx) {
  const Node n = ctx.node;
  const bool channels_last = n.attr_int("channels_last", 0) != 0;
  const int64_t rank = ctx.declared_rank(n.in(3));
  if (channels_last && rank < 3)
    return ctx.error("channels_last needs weights whose rank is known",
                     "make the weights an initialiser, or keep the model in NCHW order");
  ValueId x = n.in(0);
  ValueId y = n.out(0);
  if (channels_last) {
    x = to_channels_first(ctx, x, rank);
    y = ctx.value("channels_first");
  }
  std::vector<ValueId> inputs{dequantize(ctx, x, {n.in(1), n.in(2)}), dequantize(ctx, n.in(3), {n.in(4), n.in(5)}, 0)};
  if (ctx.has_input(8)) inputs.push_back(dequantize(ctx, n.in(8), {product_scale(ctx, n.in(1), n.in(4))}, 0));
  auto attrs = n.attrs;
  attrs.erase("channels_last");
  become(ctx.node, "Conv", std::move(inputs), std::move(attrs));
  ctx.node.outputs = {ctx.value("output")};
  quantize_into(ctx, ctx.node.outputs[0], {n.in(6), n.in(7)}, n.in(0), y);
  if (channels_last) to_channels_last(ctx, y, n.out(0), rank);
  return {};
}

/// Inputs A, A_scale, A_zero?, B, B_scale, B_zero?, C_scale, C_zero?.
Status qlinear_binary(AdaptContext& ctx) {
  const Node n = ctx.node;
  const ValueId a = dequantized_input(ctx, 0);
  const ValueId b = dequantized_input(ctx, 3);
  become(ctx.node, n.op == "QLinearAdd" ? "Add" : "Mul", {a, b});
  quantize_output(ctx, {n.in(6), n.in(7)}, n.in(0));
  return {};
}

/// Inputs X, X_scale, X_zero?, Y_scale, Y_zero?: the node becomes `op` between its Q and DQ.
void qlinear_unary(AdaptContext& ctx, std::string_view op, std::map<std::string, Attr> attrs) {
  const Node n = ctx.node;
  become(ctx.node, op, {dequantized_input(ctx, 0)}, std::move(attrs));
  quantize_output(ctx, {n.in(3), n.in(4)}, n.in(0));
}

Status qlinear_sigmoid(AdaptContext& ctx) {
  qlinear_unary(ctx, "Sigmoid", {});
  return {};
}

Status qlinear_leaky_relu(AdaptContext& ctx) {
  qlinear_unary(ctx, "LeakyRelu", {{"alpha", ctx.node.attr_float("alpha", 0.01F)}});
  return {};
}

Status qlinear_reduce_mean(AdaptContext& ctx) {
  const auto axes = ctx.node.attr_ints("axes");
  qlinear_unary(ctx, "ReduceMean", {{"keepdims", ctx.node.attr_int("keepdims", 1)}});
  if (!axes.empty()) ctx.set_input(1, ctx.constant("axes", Tensor::from_i64(axes)));
  return {};
}

/// Puts the node between transposes, when it works on N, spatial, C.
Status pool_in_channels_first(AdaptContext& ctx, std::string_view op, std::map<std::string, Attr> attrs) {
  if (ctx.node.attr_int("channels_last", 0) == 0) {
    qlinear_unary(ctx, op, std::move(attrs));
    return {};
  }
  const int64_t rank = ctx.declared_rank(ctx.node.in(0));
  if (rank < 3) return ctx.error("channels_last needs an input of known rank, at least 3", "export it in NCHW order");
  const ValueId y = ctx.node.outputs[0];
  const ValueId inner = ctx.value("channels_first");
  ctx.node.inputs[0] = to_channels_first(ctx, ctx.node.in(0), rank);
  ctx.node.outputs[0] = inner;
  qlinear_unary(ctx, op, std::move(attrs));
  to_channels_last(ctx, inner, y, rank);
  return {};
}

Status qlinear_global_average_pool(AdaptContext& ctx) { return pool_in_channels_first(ctx, "GlobalAveragePool", {}); }

Status qlinear_average_pool(AdaptContext& ctx) {
  auto attrs = ctx.node.attrs;
  attrs.erase("channels_last");
  return pool_in_channels_first(ctx, "AveragePool", std::move(attrs));
}

/// Before opset 13 Softmax works on a matrix, whose columns begin at `axis`; the node says which meaning it has.
Status qlinear_softmax(AdaptContext& ctx) {
  const bool as_matrix = ctx.node.attr_int("opset", 13) < 13;
  const int64_t axis = ctx.node.attr_int("axis", as_matrix ? 1 : -1);
  const ValueId x = ctx.node.in(0);
  if (!as_matrix || axis == -1) {
    qlinear_unary(ctx, "Softmax", {{"axis", axis}});
    return {};
  }
  const ValueId y = ctx.node.outputs[0];
  ctx.node.inputs[0] = ctx.emit("Flatten", {x}, {{"axis", axis}});
  const ValueId matrix = ctx.value("matrix");
  ctx.node.outputs[0] = matrix;
  qlinear_unary(ctx, "Softmax", {{"axis", int64_t{-1}}});
  ctx.emit_into("Reshape", {matrix, ctx.emit("Shape", {x})}, {y}, {{"allowzero", int64_t{1}}});
  return {};
}

/// Inputs Y_scale, Y_zero, then X, X_scale, X_zero for every part.
Status qlinear_concat(AdaptContext& ctx) {
  const Node n = ctx.node;
  if (n.inputs.size() < 5 || (n.inputs.size() - 2) % 3 != 0)
    return ctx.error(
        fmt::format("it has {} inputs, expected a scale, a zero point and three per part", n.inputs.size()));
  std::vector<ValueId> parts;
  for (size_t i = 2; i < n.inputs.size(); i += 3) {
    if (n.in(i) == kNoValue || n.in(i + 1) == kNoValue) return ctx.error(fmt::format("it lacks input {}", i));
    parts.push_back(dequantized_input(ctx, i));
  }
  become(ctx.node, "Concat", std::move(parts), {{"axis", n.attr_int("axis", 1)}});
  quantize_output(ctx, {n.in(0), n.in(1)}, n.in(2));
  return {};
}

/// Inputs condition, X, X_scale, X_zero, Y, Y_scale, Y_zero, Z_scale, Z_zero.
Status qlinear_where(AdaptContext& ctx) {
  const Node n = ctx.node;
  const ValueId x = dequantized_input(ctx, 1);
  const ValueId y = dequantized_input(ctx, 4);
  become(ctx.node, "Where", {n.in(0), x, y});
  quantize_output(ctx, {n.in(7), n.in(8)}, n.in(1));
  return {};
}

/// QuantizeLinear and DequantizeLinear had 16- and 4-bit types there before ONNX did.
Status to_default_domain(AdaptContext& ctx) {
  ctx.node.domain.clear();
  return {};
}

/// A MaxPool on N, spatial, C.
Status nhwc_max_pool(AdaptContext& ctx) {
  const auto kernel = ctx.node.attr_ints("kernel_shape");
  const auto rank = static_cast<int64_t>(kernel.size()) + 2;
  if (kernel.empty()) return ctx.error("kernel_shape is missing");
  const ValueId y = ctx.node.outputs[0];
  const ValueId inner = ctx.value("channels_first");
  become(ctx.node, "MaxPool", {to_channels_first(ctx, ctx.node.in(0), rank)}, ctx.node.attrs);
  ctx.node.outputs = {inner};
  to_channels_last(ctx, inner, y, rank);
  return {};
}

constexpr std::array kRows{
    Adapter{"DequantizeLinear", 0, kAll, to_default_domain, kMicrosoftDomain, 0x3},
    Adapter{"NhwcMaxPool", 0, kAll, nhwc_max_pool, kMicrosoftDomain, 0x1},
    Adapter{"QLinearAdd", 0, kAll, qlinear_binary, kMicrosoftDomain, 0x5b},
    Adapter{"QLinearAveragePool", 0, kAll, qlinear_average_pool, kMicrosoftDomain, 0xb, true},
    Adapter{"QLinearConcat", 0, kAll, qlinear_concat, kMicrosoftDomain, 0x1},
    Adapter{"QLinearConv", 10, kAll, qlinear_conv, "", 0xff},
    Adapter{"QLinearConv", 0, kAll, qlinear_conv, kMicrosoftDomain, 0xff},
    Adapter{"QLinearGlobalAveragePool", 0, kAll, qlinear_global_average_pool, kMicrosoftDomain, 0xb, true},
    Adapter{"QLinearLeakyRelu", 0, kAll, qlinear_leaky_relu, kMicrosoftDomain, 0xb},
    Adapter{"QLinearMul", 0, kAll, qlinear_binary, kMicrosoftDomain, 0x5b},
    Adapter{"QLinearReduceMean", 0, kAll, qlinear_reduce_mean, kMicrosoftDomain, 0xb},
    Adapter{"QLinearSigmoid", 0, kAll, qlinear_sigmoid, kMicrosoftDomain, 0xb},
    Adapter{"QLinearSoftmax", 0, kAll, qlinear_softmax, kMicrosoftDomain, 0xb},
    Adapter{"QLinearWhere", 0, kAll, qlinear_where, kMicrosoftDomain, 0xb7},
    Adapter{"QuantizeLinear", 0, kAll, to_default_domain, kMicrosoftDomain, 0x3},
};

}  // namespace

std::span<const Adapter> quantised_adapters() { return kRows; }

}  // namespace planish
