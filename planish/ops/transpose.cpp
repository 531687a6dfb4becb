// Transpose: output dimension i is input dimension perm[i] (default: reversed). Any type.
// https://onnx.ai/onnx/operators/onnx__Transpose.html

#include <fmt/format.h>

#include <array>

#include "planish/ops/checks.h"
#include "planish/ops/elements.h"
#include "planish/ops/registry.h"
#include "planish/ops/strided_copy.h"

namespace planish {
namespace {

template <typename Ctx>
Result<std::vector<int64_t>> permutation(const Ctx& ctx, const Shape& in) {
  const auto rank = static_cast<int64_t>(in.size());
  std::vector<int64_t> perm = ctx.node().attr_ints("perm");
  if (!ctx.node().has_attr("perm"))
    for (int64_t i = rank; i-- > 0;) perm.push_back(i);
  const auto axes = normalise_axes(perm, rank);
  if (!axes || axes->size() != in.size())
    return ctx.error(fmt::format("perm {} is no permutation of the dimensions of {}", to_string(perm), to_string(in)));
  return *axes;
}

Shape permuted(const Shape& in, std::span<const int64_t> perm) {
  Shape out;
  for (const int64_t p : perm) out.push_back(in[static_cast<size_t>(p)]);
  return out;
}

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const auto perm = PLANISH_TRY(permutation(ctx, ctx.shape(0)));
  ctx.set(0, ctx.dtype(0), permuted(ctx.shape(0), perm));
  return {};
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const Tensor& x = ctx.in(0);
  const auto perm = PLANISH_TRY(permutation(ctx, x.shape()));
  const Shape shape = permuted(x.shape(), perm);
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), shape));
  const ElementReader in(x);
  ElementWriter out(*y);
  strided_copy(in.width(), shape, in.data(), permuted(row_major_strides(x.shape()), perm), out.data(),
               row_major_strides(shape));
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "Transpose", .since = 1, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> transpose_ops() { return kOps; }

}  // namespace planish
