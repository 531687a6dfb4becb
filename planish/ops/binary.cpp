// Functions of two broadcast elements: every row of binary_functions() as an operator, and SwiGLU.
// https://onnx.ai/onnx/operators/ (Add, And, BitShift, ..., Xor)

#include <algorithm>
#include <array>

#include "planish/ops/broadcast.h"
#include "planish/ops/checks.h"
#include "planish/ops/element_buffer.h"
#include "planish/ops/elementwise.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

/// Both inputs have one type in ONNX; only the exponent of Pow is free.
Status check_types(const auto& ctx, DType a, DType b) {
  if (a == b || ctx.node().op == "Pow") return {};
  return ctx.error("inputs have types " + std::string(dtype_name(a)) + " and " + std::string(dtype_name(b)),
                   "insert a Cast so that both have the same type");
}

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  PLANISH_TRY(check_types(ctx, ctx.dtype(0), ctx.dtype(1)));
  const BinaryFunction* f = binary_function_of(ctx.node());
  ctx.set(0, f->gives_bool ? DType::boolean : ctx.dtype(0), PLANISH_TRY(broadcast_input_shapes(ctx, 2)));
  return {};
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  const Tensor& a = ctx.in(0);
  const Tensor& b = ctx.in(1);
  PLANISH_TRY(check_types(ctx, a.dtype(), b.dtype()));
  const BinaryFunction* f = binary_function_of(ctx.node());
  Shape shape = PLANISH_TRY(broadcast_input_shapes(ctx, 2));
  Tensor* y = PLANISH_TRY(ctx.output(0, f->gives_bool ? DType::boolean : a.dtype(), std::move(shape)));
  // An integer to a real power is computed with reals and truncated.
  const DType domain = dtype_is_float(b.dtype()) ? b.dtype() : a.dtype();
  if (!apply_binary(*f, domain, a, b, *y))
    return ctx.error("does not exist for type " + std::string(dtype_name(a.dtype())));
  return {};
}

Status infer_swiglu(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  ctx.set(0, ctx.dtype(0), PLANISH_TRY(broadcast_input_shapes(ctx, 2)));
  return {};
}

Status reference_swiglu(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  const Tensor& gate = ctx.in(0);
  const Tensor& value = ctx.in(1);
  Shape shape = PLANISH_TRY(broadcast_input_shapes(ctx, 2));
  Tensor* y = PLANISH_TRY(ctx.output(0, gate.dtype(), std::move(shape)));
  const UnaryFunction* swish = find_unary_function("Swish");
  const BinaryFunction* mul = find_binary_function("Mul");
  const ScalarParams params = params_of(*swish, ctx.node());
  BroadcastReader read_gate(gate, y->shape());
  BroadcastReader read_value(value, y->shape());
  std::array<double, kElementBlock> a;
  std::array<double, kElementBlock> b;
  for (int64_t i = 0, total = y->size(); i < total; i += kElementBlock) {
    const int64_t n = std::min(kElementBlock, total - i);
    read_gate.read(n, a.data());
    read_value.read(n, b.data());
    swish->block(n, a.data(), a.data(), params);
    mul->block(n, a.data(), b.data(), a.data());
    store_elements(y->dtype(), y->raw(), i, 1, n, a.data());
  }
  return {};
}

constexpr OpDecl row(std::string_view name, int since) {
  return {.name = name, .since = since, .traits = kTraitPointwise, .infer = infer, .reference = reference};
}

constexpr std::array kOps{
    row("Add", 1),
    row("And", 1),
    row("BitShift", 11),
    row("BitwiseAnd", 18),
    row("BitwiseOr", 18),
    row("BitwiseXor", 18),
    row("Div", 1),
    row("Equal", 1),
    row("Greater", 1),
    row("GreaterOrEqual", 12),
    row("Less", 1),
    row("LessOrEqual", 12),
    row("Mod", 10),
    row("Mul", 1),
    row("Or", 1),
    row("PRelu", 1),
    row("Pow", 1),
    row("Sub", 1),
    OpDecl{
        .name = "SwiGLU", .since = 28, .traits = kTraitPointwise, .infer = infer_swiglu, .reference = reference_swiglu},
    row("Xor", 1),
};

}  // namespace

std::span<const OpDecl> binary_ops() { return kOps; }

}  // namespace planish
