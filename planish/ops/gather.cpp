// Gather, GatherElements, GatherND: reading at indices. Any data type; indices are i32 or i64, negative ones count from
// the end. https://onnx.ai/onnx/operators/onnx__Gather.html (and GatherElements, GatherND)

#include <fmt/format.h>

#include <array>

#include "planish/ops/checks.h"
#include "planish/ops/elements.h"
#include "planish/ops/indices.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

template <typename Ctx>
Result<int64_t> axis_of(const Ctx& ctx, int64_t rank) {
  return normalize_axis(ctx, ctx.node().attr_int("axis", 0), rank);
}

/// data[:axis] + indices + data[axis+1:]
Shape gather_shape(const Shape& data, const Shape& indices, int64_t axis) {
  Shape out(data.begin(), data.begin() + axis);
  out.insert(out.end(), indices.begin(), indices.end());
  out.insert(out.end(), data.begin() + axis + 1, data.end());
  return out;
}

Status infer_gather(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  const int64_t axis = PLANISH_TRY(axis_of(ctx, ctx.rank(0)));
  ctx.set(0, ctx.dtype(0), gather_shape(ctx.shape(0), ctx.shape(1), axis));
  return {};
}

Status gather(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  const Tensor& x = ctx.in(0);
  const int64_t axis = PLANISH_TRY(axis_of(ctx, x.rank()));
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), gather_shape(x.shape(), ctx.in(1).shape(), axis)));
  const auto indices = PLANISH_TRY(read_indices(ctx, ctx.in(1), x.dim(axis)));
  const ElementReader in(x);
  ElementWriter out(*y);
  const int64_t block = product(x.shape(), axis + 1, x.rank()) * in.width();
  const int64_t outer = y->size() == 0 ? 0 : product(x.shape(), 0, axis);
  const auto count = static_cast<int64_t>(indices.size());
  for (int64_t o = 0; o < outer; ++o)
    gather_blocks(out.data() + o * count * block, in.data() + o * x.dim(axis) * block, indices, block, block);
  return {};
}

Status infer_gather_elements(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  if (ctx.rank(0) != ctx.rank(1)) return ctx.error("data and indices differ in rank");
  (void)PLANISH_TRY(axis_of(ctx, ctx.rank(0)));
  ctx.set(0, ctx.dtype(0), ctx.shape(1));
  return {};
}

Status gather_elements(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  const Tensor& x = ctx.in(0);
  const Shape& shape = ctx.in(1).shape();
  if (x.shape().size() != shape.size()) return ctx.error("data and indices differ in rank");
  const int64_t axis = PLANISH_TRY(axis_of(ctx, x.rank()));
  PLANISH_TRY(require_fits(ctx, shape, x.shape(), axis));
  std::vector<int64_t> offsets = PLANISH_TRY(read_indices(ctx, ctx.in(1), x.dim(axis)));
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), shape));
  const ElementReader in(x);
  ElementWriter out(*y);
  ElementOffsets walk(shape, x.shape(), axis);
  for (int64_t& i : offsets) i = walk.next(i);
  gather_blocks(out.data(), in.data(), offsets, in.width(), in.width());
  return {};
}

/// batch dims + indices[batch:-1] + data[batch + last:]; nullopt when the length of an index tuple is unknown.
template <typename Ctx>
Result<std::optional<Shape>> gather_nd_shape(const Ctx& ctx, const Shape& data, const Shape& indices) {
  const int64_t batch = ctx.node().attr_int("batch_dims", 0);
  const auto rank = static_cast<int64_t>(data.size());
  const auto index_rank = static_cast<int64_t>(indices.size());
  if (batch < 0 || index_rank < 1 || batch >= index_rank || batch >= rank)
    return ctx.error(
        fmt::format("batch_dims {} does not fit data {} and indices {}", batch, to_string(data), to_string(indices)));
  const int64_t tuple = indices.back();
  if (tuple == kUnknownDim) return std::optional<Shape>();
  if (tuple > rank - batch)
    return ctx.error(fmt::format("index tuples of {} do not fit data {}", tuple, to_string(data)));
  for (int64_t i = 0; i < batch; ++i) {
    const int64_t a = data[static_cast<size_t>(i)];
    const int64_t b = indices[static_cast<size_t>(i)];
    if (a >= 0 && b >= 0 && a != b) return ctx.error("data and indices differ in a batch dimension");
  }
  Shape out(indices.begin(), indices.end() - 1);
  out.insert(out.end(), data.begin() + batch + tuple, data.end());
  return std::optional(out);
}

Status infer_gather_nd(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  ctx.set(0, ctx.dtype(0), PLANISH_TRY(gather_nd_shape(ctx, ctx.shape(0), ctx.shape(1))));
  return {};
}

Status gather_nd(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  const Tensor& x = ctx.in(0);
  const Shape& index_shape = ctx.in(1).shape();
  const Shape shape = *PLANISH_TRY(gather_nd_shape(ctx, x.shape(), index_shape));
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), shape));
  const int64_t batch_dims = ctx.node().attr_int("batch_dims", 0);
  const int64_t tuple = index_shape.back();
  const ElementReader in(x);
  ElementWriter out(*y);
  const int64_t per_batch = product(index_shape, batch_dims, static_cast<int64_t>(index_shape.size()) - 1);
  const int64_t slab = product(x.shape(), batch_dims, x.rank());
  const int64_t block = product(x.shape(), batch_dims + tuple, x.rank()) * in.width();
  if (y->size() == 0) return {};
  std::vector<int64_t> offsets = PLANISH_TRY(tuple_offsets(ctx, ctx.in(1), x.shape(), batch_dims));
  if (batch_dims > 0)
    for (size_t k = 0; k < offsets.size(); ++k) offsets[k] += static_cast<int64_t>(k) / per_batch * slab;
  gather_blocks(out.data(), in.data(), offsets, in.width(), block);
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "Gather", .since = 1, .infer = infer_gather, .reference = gather},
    OpDecl{.name = "GatherElements", .since = 11, .infer = infer_gather_elements, .reference = gather_elements},
    OpDecl{.name = "GatherND", .since = 11, .infer = infer_gather_nd, .reference = gather_nd},
};

}  // namespace

std::span<const OpDecl> gather_ops() { return kOps; }

}  // namespace planish
