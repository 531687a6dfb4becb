// Reshape, Flatten, Squeeze, Unsqueeze: the same elements in the same order under another shape. Any type.
// https://onnx.ai/onnx/operators/onnx__Reshape.html (and Flatten, Squeeze, Unsqueeze)

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "planish/ops/checks.h"
#include "planish/ops/elements.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

/// Writes output 0 as a copy of input 0 under `shape`.
Status copy_as(RefContext& ctx, const Shape& shape) {
  const Tensor& x = ctx.in(0);
  if (element_count(shape) != x.size())
    return ctx.error(fmt::format("cannot view {} as {}", to_string(x.shape()), to_string(shape)));
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), shape));
  if (x.bytes() != 0 && y->raw() != x.raw()) std::memcpy(y->raw(), x.raw(), x.bytes());
  return {};
}

/// The dimension that -1 stands for: what is left of `in` after the other dimensions of `out`. Dimensions copied from
/// the input cancel first, so that [?,12,64] -> (0,-1) gives [?,768] although the batch is unknown.
template <typename Ctx>
Result<int64_t> solve_dimension(const Ctx& ctx, const Shape& in, const Shape& out, const std::vector<bool>& copied,
                                size_t at) {
  int64_t left = 1;
  int64_t taken = 1;
  for (size_t i = 0; i < in.size(); ++i)
    if (!(i < copied.size() && copied[i] && in[i] != 0)) left = dim_mul(left, in[i]);
  for (size_t i = 0; i < out.size(); ++i)
    if (i != at && !(copied[i] && in[i] != 0)) taken = dim_mul(taken, out[i]);
  if (left < 0 || taken < 0) return kUnknownDim;
  if (taken == 0) return left == 0 ? 0 : kUnknownDim;
  if (left % taken != 0)
    return ctx.error(fmt::format("cannot view {} as {}: {} elements do not divide by {}", to_string(in), to_string(out),
                                 left, taken),
                     "check the input shape that the model was exported for");
  return left / taken;
}

template <typename Ctx>
Result<Shape> reshape_shape(const Ctx& ctx, const Shape& in, std::span<const int64_t> target) {
  const bool allow_zero = ctx.node().attr_int("allowzero", 0) != 0;
  Shape out(target.begin(), target.end());
  std::vector<bool> copied(out.size(), false);
  std::optional<size_t> unknown;
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i] == 0 && !allow_zero) {
      if (i >= in.size()) return ctx.error(fmt::format("shape has a 0 at {} but the input is {}", i, to_string(in)));
      out[i] = in[i];
      copied[i] = true;
    } else if (out[i] == -1) {
      if (unknown) return ctx.error("shape has more than one -1");
      unknown = i;
    } else if (out[i] < 0) {
      return ctx.error(fmt::format("shape has the negative dimension {}", out[i]));
    }
  }
  if (unknown) out[*unknown] = PLANISH_TRY(solve_dimension(ctx, in, out, copied, *unknown));
  return out;
}

Status infer_reshape(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  const auto target = ctx.ints(1);
  if (target) {
    ctx.set(0, ctx.dtype(0), PLANISH_TRY(reshape_shape(ctx, ctx.shape(0), *target)));
  } else if (ctx.rank(1) == 1 && ctx.shape(1)[0] >= 0) {
    ctx.set(0, ctx.dtype(0), Shape(static_cast<size_t>(ctx.shape(1)[0]), kUnknownDim));
  } else {
    ctx.set(0, ctx.dtype(0), std::nullopt);
  }
  return {};
}

Status reshape(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  return copy_as(ctx, PLANISH_TRY(reshape_shape(ctx, ctx.in(0).shape(), ctx.in(1).to_i64())));
}

template <typename Ctx>
Result<Shape> flatten_shape(const Ctx& ctx, const Shape& in) {
  const auto rank = static_cast<int64_t>(in.size());
  int64_t axis = ctx.node().attr_int("axis", 1);
  if (axis < -rank || axis > rank) return ctx.error(fmt::format("axis {} does not fit {}", axis, to_string(in)));
  if (axis < 0) axis += rank;
  return Shape{product(in, 0, axis), product(in, axis, rank)};
}

Status infer_flatten(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  ctx.set(0, ctx.dtype(0), PLANISH_TRY(flatten_shape(ctx, ctx.shape(0))));
  return {};
}

Status flatten(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  return copy_as(ctx, PLANISH_TRY(flatten_shape(ctx, ctx.in(0).shape())));
}

/// Without axes every dimension of 1 goes, which needs all dimensions to be known (nullopt otherwise).
template <typename Ctx>
Result<std::optional<Shape>> squeeze_shape(const Ctx& ctx, const Shape& in,
                                           const std::optional<std::vector<int64_t>>& axes) {
  Shape out;
  if (!axes) {
    if (!is_static(in)) return std::optional<Shape>();
    std::ranges::copy_if(in, std::back_inserter(out), [](int64_t d) { return d != 1; });
    return std::optional(out);
  }
  const auto rank = static_cast<int64_t>(in.size());
  const auto gone = normalise_axes(*axes, rank);
  if (!gone) return ctx.error(fmt::format("axes {} do not fit {}", to_string(*axes), to_string(in)));
  for (int64_t i = 0; i < rank; ++i) {
    const int64_t d = in[static_cast<size_t>(i)];
    if (std::ranges::find(*gone, i) == gone->end())
      out.push_back(d);
    else if (d != 1 && d != kUnknownDim)
      return ctx.error(fmt::format("dimension {} of {} is not 1", i, to_string(in)));
  }
  return std::optional(out);
}

Status infer_squeeze(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const auto axes = ctx.ints(1);
  if (axes || !ctx.has(1)) {
    ctx.set(0, ctx.dtype(0), PLANISH_TRY(squeeze_shape(ctx, ctx.shape(0), axes)));
    return {};
  }
  const bool counted = ctx.rank(1) == 1 && ctx.shape(1)[0] >= 0 && ctx.shape(1)[0] <= ctx.rank(0);
  std::optional<Shape> out;
  if (counted) out = Shape(static_cast<size_t>(ctx.rank(0) - ctx.shape(1)[0]), kUnknownDim);
  ctx.set(0, ctx.dtype(0), out);
  return {};
}

Status squeeze(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  std::optional<std::vector<int64_t>> axes;
  if (ctx.has(1)) axes = ctx.in(1).to_i64();
  return copy_as(ctx, *PLANISH_TRY(squeeze_shape(ctx, ctx.in(0).shape(), axes)));
}

template <typename Ctx>
Result<Shape> unsqueeze_shape(const Ctx& ctx, const Shape& in, std::span<const int64_t> axes) {
  const size_t rank = in.size() + axes.size();
  const auto added = normalise_axes(axes, static_cast<int64_t>(rank));
  if (!added) return ctx.error(fmt::format("axes {} do not fit {}", to_string(axes), to_string(in)));
  Shape out(rank, 0);
  for (const int64_t a : *added) out[static_cast<size_t>(a)] = 1;
  size_t next = 0;
  for (size_t i = 0; i < rank; ++i)
    if (std::ranges::find(*added, static_cast<int64_t>(i)) == added->end()) out[i] = in[next++];
  return out;
}

Status infer_unsqueeze(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  const auto axes = ctx.ints(1);
  if (axes) {
    ctx.set(0, ctx.dtype(0), PLANISH_TRY(unsqueeze_shape(ctx, ctx.shape(0), *axes)));
  } else if (ctx.rank(1) == 1 && ctx.shape(1)[0] >= 0) {
    ctx.set(0, ctx.dtype(0), Shape(static_cast<size_t>(ctx.rank(0) + ctx.shape(1)[0]), kUnknownDim));
  } else {
    ctx.set(0, ctx.dtype(0), std::nullopt);
  }
  return {};
}

Status unsqueeze(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  return copy_as(ctx, PLANISH_TRY(unsqueeze_shape(ctx, ctx.in(0).shape(), ctx.in(1).to_i64())));
}

constexpr std::array kOps{
    OpDecl{.name = "Flatten", .since = 1, .traits = kTraitView, .infer = infer_flatten, .reference = flatten},
    OpDecl{.name = "Reshape",
           .since = 1,
           .shape_inputs = 1U << 1,
           .traits = kTraitView,
           .infer = infer_reshape,
           .reference = reshape},
    OpDecl{.name = "Squeeze",
           .since = 1,
           .shape_inputs = 1U << 1,
           .traits = kTraitView,
           .infer = infer_squeeze,
           .reference = squeeze},
    OpDecl{.name = "Unsqueeze",
           .since = 1,
           .shape_inputs = 1U << 1,
           .traits = kTraitView,
           .infer = infer_unsqueeze,
           .reference = unsqueeze},
};

}  // namespace

std::span<const OpDecl> reshape_ops() { return kOps; }

}  // namespace planish
