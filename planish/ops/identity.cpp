// Identity: output = input. Any type. https://onnx.ai/onnx/operators/onnx__Identity.html

#include <array>
#include <cstring>

#include "planish/ops/registry.h"

namespace planish {
namespace {

Status infer(InferContext& ctx) {
  ctx.set(0, ctx.dtype(0), ctx.shape(0));
  return {};
}

Status reference(RefContext& ctx) {
  const Tensor& x = ctx.in(0);
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), x.shape()));
  if (x.bytes() != 0) std::memcpy(y->raw(), x.raw(), x.bytes());
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "Identity", .since = 1, .traits = kTraitView, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> identity_ops() { return kOps; }

}  // namespace planish
