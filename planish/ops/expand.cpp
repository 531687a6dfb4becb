// Expand and Tile: a tensor repeated by broadcasting to a shape, or a number of times along each axis. Any type.
// https://onnx.ai/onnx/operators/onnx__Expand.html https://onnx.ai/onnx/operators/onnx__Tile.html

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "planish/ops/broadcast.h"
#include "planish/ops/checks.h"
#include "planish/ops/elements.h"
#include "planish/ops/infer_graph.h"
#include "planish/ops/registry.h"
#include "planish/ops/strided_copy.h"

namespace planish {
namespace {

template <typename Ctx>
Result<Shape> expanded(const Ctx& ctx, const Shape& in, const std::vector<int64_t>& target) {
  const auto out = broadcast_shapes(in, target);
  if (!is_static(target) || !out)
    return ctx.error(fmt::format("{} cannot be broadcast to {}", to_string(in), to_string(target)));
  return *out;
}

Status infer_expand(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  if (const auto target = ctx.ints(1)) {
    ctx.set(0, ctx.dtype(0), PLANISH_TRY(expanded(ctx, ctx.shape(0), *target)));
    return {};
  }
  if (ctx.rank(1) != 1 || ctx.shape(1)[0] < 0) {
    ctx.set(0, ctx.dtype(0), std::nullopt);
    return {};
  }
  // A dimension above 1 stays whatever the target says; a dimension of 1 becomes what the target says.
  const Shape& in = ctx.shape(0);
  Shape out(std::max(in.size(), static_cast<size_t>(ctx.shape(1)[0])), kUnknownDim);
  for (size_t i = 0; i < in.size(); ++i)
    if (in[in.size() - 1 - i] > 1) out[out.size() - 1 - i] = in[in.size() - 1 - i];
  ctx.set(0, ctx.dtype(0), out);
  return {};
}

Status expand(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  const Tensor& x = ctx.in(0);
  const Shape shape = PLANISH_TRY(expanded(ctx, x.shape(), ctx.in(1).to_i64()));
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), shape));
  const ElementReader in(x);
  ElementWriter out(*y);
  strided_copy(in.width(), shape, in.data(), broadcast_strides(x.shape(), shape), out.data(), row_major_strides(shape));
  return {};
}

template <typename Ctx>
Result<Shape> tiled(const Ctx& ctx, const Shape& in, const std::vector<int64_t>& repeats) {
  if (repeats.size() != in.size() || !is_static(repeats))
    return ctx.error(fmt::format("repeats {} do not fit {}", to_string(repeats), to_string(in)));
  Shape out = in;
  for (size_t i = 0; i < out.size(); ++i) {
    if (repeats[i] != 0 && in[i] == kUnknownDim) continue;
    if (__builtin_mul_overflow(in[i], repeats[i], &out[i]))
      return ctx.error(fmt::format("repeats {} make {} too large", to_string(repeats), to_string(in)));
  }
  return out;
}

Status infer_tile(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  const auto repeats = ctx.ints(1);
  Shape out(ctx.shape(0).size(), kUnknownDim);
  if (repeats) out = PLANISH_TRY(tiled(ctx, ctx.shape(0), *repeats));
  ctx.set(0, ctx.dtype(0), out);
  return {};
}

Status tile(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  const Tensor& x = ctx.in(0);
  const Shape shape = PLANISH_TRY(tiled(ctx, x.shape(), ctx.in(1).to_i64()));
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), shape));
  if (y->size() == 0) return {};
  // Each dimension d of the output is the pair (repeat, d), where the repeat has source stride 0.
  const auto in_strides = row_major_strides(x.shape());
  const auto out_strides = row_major_strides(shape);
  std::vector<int64_t> dims;
  std::vector<int64_t> from;
  std::vector<int64_t> to;
  for (size_t i = 0; i < shape.size(); ++i) {
    dims.insert(dims.end(), {shape[i] / x.shape()[i], x.shape()[i]});
    from.insert(from.end(), {0, in_strides[i]});
    to.insert(to.end(), {out_strides[i] * x.shape()[i], out_strides[i]});
  }
  const ElementReader in(x);
  ElementWriter out(*y);
  strided_copy(in.width(), dims, in.data(), from, out.data(), to);
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "Expand", .since = 8, .shape_inputs = 1U << 1, .infer = infer_expand, .reference = expand},
    OpDecl{.name = "Tile", .since = 1, .shape_inputs = 1U << 1, .infer = infer_tile, .reference = tile},
};

}  // namespace

std::span<const OpDecl> expand_ops() { return kOps; }

}  // namespace planish
