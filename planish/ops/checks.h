#pragma once

// Checks that infer and reference functions share. They work on InferContext and RefContext alike.

#include <string>

#include "planish/ops/op.h"

namespace planish {

/// The first `count` inputs must be present.
template <typename Context>
Status require_inputs(const Context& ctx, size_t count) {
  for (size_t i = 0; i < count; ++i)
    if (!ctx.has(i)) return ctx.error("input " + std::to_string(i) + " is missing");
  return {};
}

/// Maps an axis of [-rank, rank-1] to [0, rank-1].
template <typename Context>
Result<int64_t> normalize_axis(const Context& ctx, int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank)
    return ctx.error("axis " + std::to_string(axis) + " does not exist in a tensor of rank " + std::to_string(rank));
  return axis < 0 ? axis + rank : axis;
}

/// An attribute that holds a TensorProto.DataType number; `fallback` when absent or 0.
template <typename Context>
Result<DType> dtype_attr(const Context& ctx, const char* name, DType fallback) {
  const int64_t number = ctx.node().attr_int(name, 0);
  if (number == 0) return fallback;
  if (number < 0 || number > 0xff || dtype_bits(static_cast<DType>(number)) == 0)
    return ctx.error(std::string("attribute ") + name + " asks for data type " + std::to_string(number) +
                     ", which planish does not know");
  return static_cast<DType>(number);
}

/// The type that attribute `y_type` of our fused operators names ("bf16"), for outputs in another type than the
/// inputs'; `fallback` when absent.
template <typename Context>
Result<DType> y_type_attr(const Context& ctx, DType fallback) {
  const std::string name = ctx.node().attr_string("y_type", "");
  if (name.empty()) return fallback;
  const auto type = dtype_from_name(name);
  if (!type || !dtype_is_byte_sized(*type)) return ctx.error("attribute y_type names no usable type: '" + name + "'");
  return *type;
}

/// Types with a real numeric value per element: everything but strings and complex numbers.
inline bool is_real(DType t) { return dtype_is_float(t) || dtype_is_integer(t) || t == DType::boolean; }

/// Every present input must have a real type.
template <typename Context>
Status require_real(const Context& ctx);

template <>
inline Status require_real(const InferContext& ctx) {
  for (size_t i = 0; i < ctx.num_inputs(); ++i)
    if (ctx.has(i) && !is_real(ctx.dtype(i)))
      return ctx.error("input " + std::to_string(i) + " has type " + std::string(dtype_name(ctx.dtype(i))) +
                       ", expected a number type");
  return {};
}

template <>
inline Status require_real(const RefContext& ctx) {
  for (size_t i = 0; i < ctx.num_inputs(); ++i)
    if (ctx.has(i) && !is_real(ctx.in(i).dtype()))
      return ctx.error("input " + std::to_string(i) + " has type " + std::string(dtype_name(ctx.in(i).dtype())) +
                       ", expected a number type");
  return {};
}

}  // namespace planish
