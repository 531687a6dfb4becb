// Concat and Split: joining tensors along one axis and cutting them apart. Any type.
// https://onnx.ai/onnx/operators/onnx__Concat.html https://onnx.ai/onnx/operators/onnx__Split.html

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "planish/ops/checks.h"
#include "planish/ops/elements.h"
#include "planish/ops/registry.h"
#include "planish/ops/strided_copy.h"

namespace planish {
namespace {

/// Adds `next` to the running shape of a concatenation.
template <typename Ctx>
Status join(const Ctx& ctx, Shape& total, const Shape& next, int64_t axis, size_t input) {
  if (next.size() != total.size())
    return ctx.error(fmt::format("input {} has shape {}, input 0 has rank {}", input, to_string(next), total.size()));
  for (size_t d = 0; d < total.size(); ++d) {
    if (static_cast<int64_t>(d) == axis) {
      total[d] = dim_add(total[d], next[d]);
    } else if (total[d] < 0) {
      total[d] = next[d];
    } else if (next[d] >= 0 && next[d] != total[d]) {
      Error e = ctx.error(fmt::format("input {} has shape {}, which does not fit {} along axis {}", input,
                                      to_string(next), to_string(total), axis));
      e.code = Code::shape_mismatch;
      return e;
    }
  }
  return {};
}

template <typename Ctx>
Result<int64_t> axis_of(const Ctx& ctx, const Shape& shape, int64_t fallback) {
  const int64_t axis = ctx.node().attr_int("axis", fallback);
  const auto normal = normalise_axis(axis, static_cast<int64_t>(shape.size()));
  if (!normal) return ctx.error(fmt::format("axis {} does not fit {}", axis, to_string(shape)));
  return *normal;
}

Status infer_concat(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, std::max<size_t>(ctx.num_inputs(), 1)));
  const int64_t axis = PLANISH_TRY(axis_of(ctx, ctx.shape(0), 0));
  Shape total = ctx.shape(0);
  for (size_t i = 1; i < ctx.num_inputs(); ++i) PLANISH_TRY(join(ctx, total, ctx.shape(i), axis, i));
  ctx.set(0, ctx.dtype(0), total);
  return {};
}

Status concat(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, std::max<size_t>(ctx.num_inputs(), 1)));
  const int64_t axis = PLANISH_TRY(axis_of(ctx, ctx.in(0).shape(), 0));
  Shape total = ctx.in(0).shape();
  for (size_t i = 1; i < ctx.num_inputs(); ++i) {
    PLANISH_TRY(join(ctx, total, ctx.in(i).shape(), axis, i));
    if (ctx.in(i).dtype() != ctx.in(0).dtype()) return ctx.error(fmt::format("input {} has another type", i));
  }
  Tensor* y = PLANISH_TRY(ctx.output(0, ctx.in(0).dtype(), total));
  ElementWriter out(*y);
  const auto out_strides = row_major_strides(total);
  int64_t offset = 0;
  for (size_t i = 0; i < ctx.num_inputs(); ++i) {
    const Tensor& x = ctx.in(i);
    const ElementReader in(x);
    strided_copy(out.width(), x.shape(), in.data(), row_major_strides(x.shape()), out.data() + offset * out.width(),
                 out_strides);
    offset += x.dim(axis) * out_strides[static_cast<size_t>(axis)];
  }
  return {};
}

/// Length of each part along the axis; all -1 when the dimension is unknown.
template <typename Ctx>
Result<std::vector<int64_t>> part_lengths(const Ctx& ctx, int64_t dim,
                                          const std::optional<std::vector<int64_t>>& lengths) {
  const auto parts = static_cast<int64_t>(ctx.num_outputs());
  if (lengths) {
    bool valid = lengths->size() == ctx.num_outputs();
    for (const int64_t l : *lengths) valid = valid && l >= 0 && (dim < 0 || l <= dim);
    if (!valid || (dim >= 0 && std::accumulate(lengths->begin(), lengths->end(), int64_t{0}) != dim))
      return ctx.error(fmt::format("split {} does not cut a dimension of {} into {} parts", to_string(*lengths),
                                   dim < 0 ? std::string("unknown length") : std::to_string(dim), parts));
    return *lengths;
  }
  if (dim < 0) return std::vector<int64_t>(ctx.num_outputs(), kUnknownDim);
  // All parts are equal but the last one, which takes what is left.
  const int64_t length = (dim + parts - 1) / parts;
  std::vector<int64_t> out;
  for (int64_t i = 0; i < parts; ++i) out.push_back(std::clamp<int64_t>(dim - i * length, 0, length));
  return out;
}

Status infer_split(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  if (ctx.num_outputs() == 0) return ctx.error("there are no outputs");
  const int64_t axis = PLANISH_TRY(axis_of(ctx, ctx.shape(0), 0));
  const auto at = static_cast<size_t>(axis);
  const auto lengths = ctx.ints(1);
  std::vector<int64_t> parts(ctx.num_outputs(), kUnknownDim);
  if (lengths || !ctx.has(1)) parts = PLANISH_TRY(part_lengths(ctx, ctx.shape(0)[at], lengths));
  for (size_t i = 0; i < ctx.num_outputs(); ++i) {
    Shape shape = ctx.shape(0);
    shape[at] = parts[i];
    ctx.set(i, ctx.dtype(0), shape);
  }
  return {};
}

Status split(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const Tensor& x = ctx.in(0);
  if (ctx.num_outputs() == 0) return ctx.error("there are no outputs");
  const int64_t axis = PLANISH_TRY(axis_of(ctx, x.shape(), 0));
  std::optional<std::vector<int64_t>> lengths;
  if (ctx.has(1)) lengths = ctx.in(1).to_i64();
  const auto parts = PLANISH_TRY(part_lengths(ctx, x.dim(axis), lengths));
  const ElementReader in(x);
  const auto in_strides = row_major_strides(x.shape());
  int64_t offset = 0;
  for (size_t i = 0; i < ctx.num_outputs(); ++i) {
    Shape shape = x.shape();
    shape[static_cast<size_t>(axis)] = parts[i];
    if (ctx.wants(i)) {
      Tensor* y = PLANISH_TRY(ctx.output(i, x.dtype(), shape));
      ElementWriter out(*y);
      strided_copy(in.width(), shape, in.data() + offset * in.width(), in_strides, out.data(),
                   row_major_strides(shape));
    }
    offset += parts[i] * in_strides[static_cast<size_t>(axis)];
  }
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "Concat", .since = 1, .one_type = kEveryInput, .infer = infer_concat, .reference = concat},
    OpDecl{.name = "Split", .since = 1, .shape_inputs = 1U << 1, .infer = infer_split, .reference = split},
};

}  // namespace

std::span<const OpDecl> concat_ops() { return kOps; }

}  // namespace planish
