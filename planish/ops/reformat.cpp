// planish.Reformat(x): changes only the physical layout, so that on row-major reference tensors it is a copy.

#include <array>
#include <cstring>

#include "planish/ops/checks.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  ctx.set(0, ctx.dtype(0), ctx.shape(0));
  return {};
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const Tensor& x = ctx.in(0);
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), x.shape()));
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
