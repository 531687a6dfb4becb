// Where: condition ? X : Y, all three broadcast. Any type that is stored as whole bytes.
// https://onnx.ai/onnx/operators/onnx__Where.html

#include <array>
#include <cstring>

#include "planish/ops/broadcast.h"
#include "planish/ops/checks.h"
#include "planish/ops/elementwise.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

Status check_types(const auto& ctx, DType condition, DType x, DType y) {
  if (condition != DType::boolean) return ctx.error("the condition has type " + std::string(dtype_name(condition)));
  if (x != y)
    return ctx.error("inputs have types " + std::string(dtype_name(x)) + " and " + std::string(dtype_name(y)),
                     "insert a Cast so that both have the same type");
  if (!dtype_is_byte_sized(x)) return ctx.error("does not exist for type " + std::string(dtype_name(x)));
  return {};
}

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  PLANISH_TRY(check_types(ctx, ctx.dtype(0), ctx.dtype(1), ctx.dtype(2)));
  ctx.set(0, ctx.dtype(1), PLANISH_TRY(broadcast_input_shapes(ctx, 3)));
  return {};
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  const DType dtype = ctx.in(1).dtype();
  PLANISH_TRY(check_types(ctx, ctx.in(0).dtype(), dtype, ctx.in(2).dtype()));
  Shape shape = PLANISH_TRY(broadcast_input_shapes(ctx, 3));
  Tensor* out = PLANISH_TRY(ctx.output(0, dtype, std::move(shape)));
  std::array<std::vector<int64_t>, 3> strides;
  for (size_t i = 0; i < 3; ++i) strides[i] = broadcast_strides(ctx.in(i).shape(), out->shape());
  StridedCursor condition(out->shape(), strides[0]);
  StridedCursor x(out->shape(), strides[1]);
  StridedCursor y(out->shape(), strides[2]);

  const size_t size = static_cast<size_t>(dtype_bits(dtype)) / 8;
  auto* dst = out->data<char>();
  for (int64_t i = 0, total = out->size(); i < total;) {
    const auto c = condition.next(total - i);
    for (int64_t j = 0; j < c.length; ++j, ++i, dst += size) {
      // Both cursors advance for every element; only the chosen one is read.
      const auto from_x = x.next(1);
      const auto from_y = y.next(1);
      const bool take_x = ctx.in(0).data<uint8_t>()[c.offset + j * c.stride] != 0;
      const auto* src = take_x ? ctx.in(1).data<char>() : ctx.in(2).data<char>();
      std::memcpy(dst, src + static_cast<size_t>(take_x ? from_x.offset : from_y.offset) * size, size);
    }
  }
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "Where", .since = 9, .traits = kTraitPointwise, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> where_ops() { return kOps; }

}  // namespace planish
