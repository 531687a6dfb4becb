// Cast and CastLike between number types, BitCast between types of one width.
// https://onnx.ai/onnx/operators/ (BitCast, Cast, CastLike)

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "planish/ops/checks.h"
#include "planish/ops/element_buffer.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

/// How values that FP8 types cannot hold are mapped.
struct Fp8Rules {
  bool saturate = true;
  std::string round_mode = "up";  // float8e8m0 only
};

Fp8Rules rules_of(const Node& node) {
  return {node.attr_int("saturate", 1) != 0, node.attr_string("round_mode", "up")};
}

/// float8e8m0 holds the exponent field of a float: rounding decides whether the mantissa adds one to it. The sign is
/// dropped (ONNX leaves negative values undefined). Source: OCP Microscaling Formats v1.0; the ONNX Cast table.
uint8_t to_e8m0(float value, const Fp8Rules& rules) {
  constexpr unsigned kNan = 0xff;
  const auto bits = std::bit_cast<uint32_t>(value);
  const unsigned exponent = (bits >> 23) & 0xffU;
  const unsigned mantissa = bits & 0x7fffffU;
  if (exponent == kNan) return std::isinf(value) && rules.saturate ? 0xfe : kNan;
  constexpr unsigned kHalf = 0x400000U;
  bool up = false;
  if (rules.round_mode == "up")
    up = mantissa != 0;
  else if (rules.round_mode == "nearest")
    up = mantissa > kHalf || (mantissa == kHalf && exponent > 0);
  if (up && exponent == 0xfe && rules.saturate) up = false;
  return static_cast<uint8_t>(exponent + (up ? 1U : 0U));
}

void cast_to_fp8(const Tensor& x, Tensor& y, const Fp8Rules& rules) {
  std::array<float, kElementBlock> v;
  auto* out = y.data<uint8_t>();
  for (int64_t i = 0, total = x.size(); i < total; i += kElementBlock) {
    const int64_t n = std::min(kElementBlock, total - i);
    load_elements(x.dtype(), x.raw(), i, 1, n, v.data());
    for (int64_t j = 0; j < n; ++j) {
      const float f = v[static_cast<size_t>(j)];
      out[i + j] = y.dtype() == DType::f8e8m0 ? to_e8m0(f, rules) : float_to_f8(y.dtype(), f, rules.saturate);
    }
  }
}

template <typename T>
void cast_blocks(const Tensor& x, Tensor& y) {
  std::array<T, kElementBlock> v;
  for (int64_t i = 0, total = x.size(); i < total; i += kElementBlock) {
    const int64_t n = std::min(kElementBlock, total - i);
    load_elements(x.dtype(), x.raw(), i, 1, n, v.data());
    store_elements(y.dtype(), y.raw(), i, 1, n, v.data());
  }
}

Status cast(RefContext& ctx, DType to) {
  const Tensor& x = ctx.in(0);
  if (!is_real(to) || !is_real(x.dtype()))
    return ctx.error("cannot convert " + std::string(dtype_name(x.dtype())) + " to " + std::string(dtype_name(to)));
  Tensor* y = PLANISH_TRY(ctx.output(0, to, x.shape()));
  if (to == x.dtype()) {
    if (x.bytes() != 0) std::memcpy(y->raw(), x.raw(), x.bytes());
  } else if (dtype_bits(to) == 8 && dtype_is_float(to)) {
    cast_to_fp8(x, *y, rules_of(ctx.node()));
  } else {
    switch (domain_of(x.dtype())) {
      case Domain::real: cast_blocks<double>(x, *y); break;
      case Domain::sint: cast_blocks<int64_t>(x, *y); break;
      case Domain::uint: cast_blocks<uint64_t>(x, *y); break;
    }
  }
  return {};
}

Status infer_cast(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const DType to = PLANISH_TRY(dtype_attr(ctx, "to", DType::undefined));
  if (to == DType::undefined) return ctx.error("attribute to is missing");
  ctx.set(0, to, ctx.shape(0));
  return {};
}

Status reference_cast(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const DType to = PLANISH_TRY(dtype_attr(ctx, "to", DType::undefined));
  return cast(ctx, to);
}

Status infer_cast_like(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  ctx.set(0, ctx.dtype(1), ctx.shape(0));
  return {};
}

Status reference_cast_like(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  return cast(ctx, ctx.in(1).dtype());
}

Status check_widths(const auto& ctx, DType from, DType to) {
  if (dtype_bits(from) != 0 && dtype_bits(from) == dtype_bits(to)) return {};
  return ctx.error("types " + std::string(dtype_name(from)) + " and " + std::string(dtype_name(to)) +
                   " differ in width");
}

Status infer_bit_cast(InferContext& ctx) {
  PLANISH_TRY(infer_cast(ctx));
  return check_widths(ctx, ctx.dtype(0), ctx.outputs().empty() ? ctx.dtype(0) : ctx.outputs()[0].dtype);
}

Status reference_bit_cast(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const Tensor& x = ctx.in(0);
  const DType to = PLANISH_TRY(dtype_attr(ctx, "to", DType::undefined));
  PLANISH_TRY(check_widths(ctx, x.dtype(), to));
  Tensor* y = PLANISH_TRY(ctx.output(0, to, x.shape()));
  if (x.bytes() != 0) std::memcpy(y->raw(), x.raw(), x.bytes());
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "BitCast",
           .since = 26,
           .traits = kTraitPointwise,
           .infer = infer_bit_cast,
           .reference = reference_bit_cast},
    OpDecl{.name = "Cast", .since = 1, .traits = kTraitPointwise, .infer = infer_cast, .reference = reference_cast},
    OpDecl{.name = "CastLike",
           .since = 15,
           .traits = kTraitPointwise,
           .infer = infer_cast_like,
           .reference = reference_cast_like},
};

}  // namespace

std::span<const OpDecl> cast_ops() { return kOps; }

}  // namespace planish
