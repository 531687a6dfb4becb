// Range: start, start + delta, ... up to limit (exclusive). https://onnx.ai/onnx/operators/onnx__Range.html

#include <array>
#include <cmath>

#include "planish/ops/checks.h"
#include "planish/ops/element_buffer.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

constexpr double kMaxLength = 0x1p36;

/// Number of elements, or an error for a step of 0 and for lengths that no memory holds.
template <typename Context>
Result<int64_t> length_of(const Context& ctx, const Tensor& start, const Tensor& limit, const Tensor& delta) {
  if (start.size() != 1 || limit.size() != 1 || delta.size() != 1) return ctx.error("inputs must be scalars");
  if (delta.at(0) == 0) return ctx.error("delta is 0");
  double length = 0;
  if (dtype_is_float(start.dtype())) {
    length = std::ceil((limit.at(0) - start.at(0)) / delta.at(0));
  } else {
    // long double holds every 64-bit integer and the differences that matter.
    const auto span = static_cast<long double>(limit.int_at(0)) - static_cast<long double>(start.int_at(0));
    length = static_cast<double>(std::ceil(span / static_cast<long double>(delta.int_at(0))));
  }
  if (!(length <= kMaxLength)) return ctx.error("the range has no end that fits in memory");
  return length > 0 ? static_cast<int64_t>(length) : 0;
}

template <typename Context>
Status check_types(const Context& ctx, DType start, DType limit, DType delta) {
  if (start != limit || start != delta) return ctx.error("inputs must have one type");
  return {};
}

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  PLANISH_TRY(require_real(ctx));
  PLANISH_TRY(check_types(ctx, ctx.dtype(0), ctx.dtype(1), ctx.dtype(2)));
  int64_t length = kUnknownDim;
  if (ctx.value(0) != nullptr && ctx.value(1) != nullptr && ctx.value(2) != nullptr)
    length = PLANISH_TRY(length_of(ctx, *ctx.value(0), *ctx.value(1), *ctx.value(2)));
  ctx.set(0, ctx.dtype(0), Shape{length});
  return {};
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  PLANISH_TRY(require_real(ctx));
  const Tensor& start = ctx.in(0);
  const Tensor& delta = ctx.in(2);
  PLANISH_TRY(check_types(ctx, start.dtype(), ctx.in(1).dtype(), delta.dtype()));
  const int64_t length = PLANISH_TRY(length_of(ctx, start, ctx.in(1), delta));
  Tensor* y = PLANISH_TRY(ctx.output(0, start.dtype(), {length}));
  if (dtype_is_float(y->dtype())) {
    for (int64_t i = 0; i < length; ++i) y->set(i, start.at(0) + static_cast<double>(i) * delta.at(0));
    return {};
  }
  auto value = static_cast<uint64_t>(start.int_at(0));
  for (int64_t i = 0; i < length; ++i, value += static_cast<uint64_t>(delta.int_at(0))) {
    const auto element = static_cast<int64_t>(value);
    store_elements(y->dtype(), y->raw(), i, 1, 1, &element);
  }
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "Range", .since = 11, .shape_inputs = 0b111, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> range_ops() { return kOps; }

}  // namespace planish
