// OneHot: a new axis of length depth that is `on` at the index and `off` elsewhere; EyeLike and Trilu: diagonals.
// https://onnx.ai/onnx/operators/onnx__OneHot.html (and EyeLike, Trilu)

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "planish/ops/checks.h"
#include "planish/ops/elements.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

template <typename Ctx>
Result<Shape> one_hot_shape(const Ctx& ctx, const Shape& indices, int64_t depth) {
  const int64_t axis =
      PLANISH_TRY(normalize_axis(ctx, ctx.node().attr_int("axis", -1), static_cast<int64_t>(indices.size()) + 1));
  Shape out = indices;
  out.insert(out.begin() + axis, depth);
  return out;
}

Status infer_one_hot(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  const auto depth = ctx.ints(1);
  if (depth && (depth->size() != 1 || (*depth)[0] < 0)) return ctx.error("depth must be one number >= 0");
  ctx.set(0, ctx.dtype(2), PLANISH_TRY(one_hot_shape(ctx, ctx.shape(0), depth ? (*depth)[0] : kUnknownDim)));
  return {};
}

Status one_hot(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  const Tensor& indices = ctx.in(0);
  if (!is_real(indices.dtype()) || !is_real(ctx.in(1).dtype())) return ctx.error("indices and depth must be numbers");
  if (ctx.in(1).size() != 1 || ctx.in(1).int_at(0) < 0) return ctx.error("depth must be one number >= 0");
  if (ctx.in(2).size() != 2) return ctx.error("values must be [off, on]");
  const int64_t depth = ctx.in(1).int_at(0);
  const Shape shape = PLANISH_TRY(one_hot_shape(ctx, indices.shape(), depth));
  Tensor* y = PLANISH_TRY(ctx.output(0, ctx.in(2).dtype(), shape));
  const ElementReader values(ctx.in(2));
  ElementWriter out(*y);
  fill_elements(out.data(), y->size(), values.data(), out.width());
  const int64_t axis = PLANISH_TRY(normalize_axis(ctx, ctx.node().attr_int("axis", -1), indices.rank() + 1));
  const int64_t inner = product(shape, axis + 1, indices.rank() + 1);
  for (int64_t i = 0; i < indices.size(); ++i) {
    const int64_t index = indices.int_at(i);
    if (index < -depth || index >= depth) continue;  // outside of the range: all off
    const int64_t at = (i / inner * depth + (index < 0 ? index + depth : index)) * inner + i % inner;
    std::memcpy(out.data() + at * out.width(), values.data() + values.width(), static_cast<size_t>(out.width()));
  }
  return {};
}

Status infer_eye_like(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  if (ctx.rank(0) != 2) return ctx.error("the input must have rank 2");
  ctx.set(0, PLANISH_TRY(dtype_attr(ctx, "dtype", ctx.dtype(0))), ctx.shape(0));
  return {};
}

Status eye_like(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const Tensor& x = ctx.in(0);
  if (x.rank() != 2) return ctx.error("the input must have rank 2");
  const DType dtype = PLANISH_TRY(dtype_attr(ctx, "dtype", x.dtype()));
  if (!is_real(dtype)) return ctx.error(fmt::format("type {} is not supported", dtype_name(dtype)));
  Tensor* y = PLANISH_TRY(ctx.output(0, dtype, x.shape()));
  if (y->bytes() != 0) std::memset(y->raw(), 0, y->bytes());
  const int64_t k = std::clamp(ctx.node().attr_int("k", 0), -x.dim(0), x.dim(1));
  for (int64_t i = std::max<int64_t>(0, -k); i < x.dim(0) && i + k < x.dim(1); ++i) y->set(i * x.dim(1) + i + k, 1);
  return {};
}

Status infer_trilu(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  if (ctx.rank(0) < 2) return ctx.error("the input must have rank 2 or more");
  ctx.set(0, ctx.dtype(0), ctx.shape(0));
  return {};
}

Status trilu(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const Tensor& x = ctx.in(0);
  if (x.rank() < 2) return ctx.error("the input must have rank 2 or more");
  const int64_t rows = x.dim(-2);
  const int64_t cols = x.dim(-1);
  int64_t k = 0;
  if (ctx.has(1)) {
    if (ctx.in(1).size() != 1) return ctx.error("k must be one number");
    k = std::clamp(ctx.in(1).int_at(0), -rows, cols);
  }
  const bool upper = ctx.node().attr_int("upper", 1) != 0;
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), x.shape()));
  const ElementReader in(x);
  ElementWriter out(*y);
  const int64_t width = in.width();
  const int64_t total_rows = x.size() == 0 ? 0 : x.size() / cols;
  for (int64_t r = 0; r < total_rows; ++r) {
    // The kept columns: from the diagonal on, or up to and including it.
    const int64_t diagonal = std::clamp<int64_t>(r % rows + k + (upper ? 0 : 1), 0, cols);
    const int64_t begin = upper ? diagonal : 0;
    const int64_t end = upper ? cols : diagonal;
    std::byte* to = out.data() + r * cols * width;
    std::memset(to, 0, static_cast<size_t>(cols * width));
    std::memcpy(to + begin * width, in.data() + (r * cols + begin) * width, static_cast<size_t>((end - begin) * width));
  }
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "EyeLike", .since = 9, .infer = infer_eye_like, .reference = eye_like},
    OpDecl{.name = "OneHot", .since = 9, .shape_inputs = 1U << 1, .infer = infer_one_hot, .reference = one_hot},
    OpDecl{.name = "Trilu", .since = 14, .infer = infer_trilu, .reference = trilu},
};

}  // namespace

std::span<const OpDecl> one_hot_ops() { return kOps; }

}  // namespace planish
