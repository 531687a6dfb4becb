// Shape, Size, Constant, ConstantOfShape: tensors made from shapes and attributes.
// https://onnx.ai/onnx/operators/onnx__Shape.html (and Size, Constant, ConstantOfShape)

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "planish/ops/checks.h"
#include "planish/ops/elements.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

/// The half-open range of dimensions that Shape returns.
template <typename Ctx>
std::pair<int64_t, int64_t> shape_range(const Ctx& ctx, int64_t rank) {
  const auto clamped = [rank](int64_t i) { return std::clamp<int64_t>(i < 0 ? i + rank : i, 0, rank); };
  const int64_t start = clamped(ctx.node().attr_int("start", 0));
  const int64_t end = clamped(ctx.node().attr_int("end", rank));
  return {start, std::max(start, end)};
}

Status infer_shape(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const auto [start, end] = shape_range(ctx, ctx.rank(0));
  ctx.set(0, DType::i64, Shape{end - start});
  return {};
}

Status shape(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const auto [start, end] = shape_range(ctx, ctx.in(0).rank());
  Tensor* y = PLANISH_TRY(ctx.output(0, DType::i64, Shape{end - start}));
  for (int64_t i = start; i < end; ++i) y->data<int64_t>()[i - start] = ctx.in(0).dim(i);
  return {};
}

Status infer_size(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  ctx.set(0, DType::i64, Shape{});
  return {};
}

Status size(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  Tensor* y = PLANISH_TRY(ctx.output(0, DType::i64, Shape{}));
  *y->data<int64_t>() = ctx.in(0).size();
  return {};
}

/// The tensor that a Constant node holds, whichever of its value attributes is set.
template <typename Ctx>
Result<Tensor> constant_value(const Ctx& ctx) {
  const Node& node = ctx.node();
  if (const Tensor* t = node.attr_tensor("value")) return *t;
  if (node.has_attr("value_int")) return Tensor::scalar_i64(node.attr_int("value_int", 0));
  if (node.has_attr("value_float")) return Tensor::scalar_f32(node.attr_float("value_float", 0));
  if (node.has_attr("value_ints")) return Tensor::from_i64(node.attr_ints("value_ints"));
  if (node.has_attr("value_floats")) return Tensor::from_f32(node.attr_floats("value_floats"));
  return ctx.error("none of value, value_int, value_ints, value_float and value_floats is set",
                   "string and sparse constants are not supported");
}

Status infer_constant(InferContext& ctx) {
  const Tensor value = PLANISH_TRY(constant_value(ctx));
  ctx.set(0, value.dtype(), value.shape());
  return {};
}

Status constant(RefContext& ctx) {
  const Tensor value = PLANISH_TRY(constant_value(ctx));
  Tensor* y = PLANISH_TRY(ctx.output(0, value.dtype(), value.shape()));
  if (value.bytes() != 0) std::memcpy(y->raw(), value.raw(), value.bytes());
  return {};
}

/// The one element that ConstantOfShape repeats; f32 0 by default.
template <typename Ctx>
Result<Tensor> fill_value(const Ctx& ctx) {
  const Tensor* value = ctx.node().attr_tensor("value");
  if (value == nullptr) return Tensor::scalar_f32(0);
  if (value->size() != 1) return ctx.error(fmt::format("value has {} elements, expected one", value->size()));
  return *value;
}

Status infer_constant_of_shape(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const Tensor value = PLANISH_TRY(fill_value(ctx));
  if (auto dims = ctx.ints(0)) {
    if (!is_static(*dims)) return ctx.error(fmt::format("the shape {} is negative", to_string(*dims)));
    ctx.set(0, value.dtype(), *dims);
  } else if (ctx.rank(0) == 1 && ctx.shape(0)[0] >= 0) {
    ctx.set(0, value.dtype(), Shape(static_cast<size_t>(ctx.shape(0)[0]), kUnknownDim));
  } else {
    ctx.set(0, value.dtype(), std::nullopt);
  }
  return {};
}

Status constant_of_shape(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const Tensor value = PLANISH_TRY(fill_value(ctx));
  Tensor* y = PLANISH_TRY(ctx.output(0, value.dtype(), ctx.in(0).to_i64()));
  const ElementReader in(value);
  ElementWriter out(*y);
  fill_elements(out.data(), y->size(), in.data(), in.width());
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "Constant", .since = 1, .infer = infer_constant, .reference = constant},
    OpDecl{.name = "ConstantOfShape",
           .since = 9,
           .shape_inputs = 1U << 0,
           .infer = infer_constant_of_shape,
           .reference = constant_of_shape},
    OpDecl{.name = "Shape", .since = 1, .infer = infer_shape, .reference = shape},
    OpDecl{.name = "Size", .since = 1, .infer = infer_size, .reference = size},
};

}  // namespace

std::span<const OpDecl> shape_of_ops() { return kOps; }

}  // namespace planish
