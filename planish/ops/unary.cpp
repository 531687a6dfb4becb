// Functions of one element: every row of unary_functions() as an operator.
// https://onnx.ai/onnx/operators/ (Abs, Acos, ..., ThresholdedRelu)

#include <algorithm>
#include <array>

#include "planish/ops/checks.h"
#include "planish/ops/element_buffer.h"
#include "planish/ops/elementwise.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const UnaryFunction* f = find_unary_function(ctx.node().op);
  ctx.set(0, f->gives_bool ? DType::boolean : ctx.dtype(0), ctx.shape(0));
  return {};
}

template <typename T>
void apply(void (*block)(int64_t, const T*, T*, const ScalarParams&), const ScalarParams& params, const Tensor& x,
           Tensor& y) {
  std::array<T, kElementBlock> v;
  for (int64_t i = 0, total = y.size(); i < total; i += kElementBlock) {
    const int64_t n = std::min(kElementBlock, total - i);
    load_elements(x.dtype(), x.raw(), i, 1, n, v.data());
    block(n, v.data(), v.data(), params);
    store_elements(y.dtype(), y.raw(), i, 1, n, v.data());
  }
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const UnaryFunction* f = find_unary_function(ctx.node().op);
  const ScalarParams params = params_of(*f, ctx.node());
  const Tensor& x = ctx.in(0);
  Tensor* y = PLANISH_TRY(ctx.output(0, f->gives_bool ? DType::boolean : x.dtype(), x.shape()));
  const Domain domain = domain_of(x.dtype());
  if (domain == Domain::sint && f->block_i64 != nullptr)
    apply(f->block_i64, params, x, *y);
  else if (domain == Domain::uint && f->block_u64 != nullptr)
    apply(f->block_u64, params, x, *y);
  else if (f->block != nullptr)
    apply(f->block, params, x, *y);  // also integers, where ONNX defines no exact form
  else
    return ctx.error("does not exist for type " + std::string(dtype_name(x.dtype())));
  return {};
}

constexpr OpDecl row(std::string_view name, int since) {
  return {.name = name, .since = since, .traits = kTraitPointwise, .infer = infer, .reference = reference};
}

constexpr std::array kOps{
    row("Abs", 1),        row("Acos", 7),        row("Acosh", 9),
    row("Asin", 7),       row("Asinh", 9),       row("Atan", 7),
    row("Atanh", 9),      row("BitwiseNot", 18), row("Ceil", 1),
    row("Celu", 12),      row("Cos", 7),         row("Cosh", 9),
    row("Elu", 1),        row("Erf", 9),         row("Exp", 1),
    row("Floor", 1),      row("Gelu", 20),       row("HardSigmoid", 1),
    row("HardSwish", 14), row("IsInf", 10),      row("IsNaN", 9),
    row("LeakyRelu", 1),  row("Log", 1),         row("Mish", 18),
    row("Neg", 1),        row("Not", 1),         row("Reciprocal", 1),
    row("Relu", 1),       row("Round", 11),      row("Selu", 1),
    row("Shrink", 9),     row("Sigmoid", 1),     row("Sign", 9),
    row("Sin", 7),        row("Sinh", 9),        row("Softplus", 1),
    row("Softsign", 1),   row("Sqrt", 1),        row("Swish", 24),
    row("Tan", 7),        row("Tanh", 1),        row("ThresholdedRelu", 10),
};

}  // namespace

std::span<const OpDecl> unary_ops() { return kOps; }

}  // namespace planish
