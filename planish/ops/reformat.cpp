// planish.Reformat(x): changes the physical layout and, with the attribute y_type, the type between f32, f16 and bf16;
// on row-major reference tensors of one type it is a copy.

#include <array>
#include <cstring>

#include "planish/ops/checks.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  ctx.set(0, PLANISH_TRY(y_type_attr(ctx, ctx.dtype(0))), ctx.shape(0));
  return {};
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const Tensor& x = ctx.in(0);
  const DType type = PLANISH_TRY(y_type_attr(ctx, x.dtype()));
  Tensor* y = PLANISH_TRY(ctx.output(0, type, x.shape()));
  if (type != x.dtype()) {
    const Tensor converted = x.cast(type);
    if (y->bytes() != 0) std::memcpy(y->raw(), converted.raw(), y->bytes());
    return {};
  }
  if (x.bytes() != 0) std::memcpy(y->raw(), x.raw(), x.bytes());
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "Reformat",
           .domain = "planish",
           .since = 1,
           .traits = kTraitView,
           .infer = infer,
           .reference = reference},
};

}  // namespace

std::span<const OpDecl> reformat_ops() { return kOps; }

}  // namespace planish
