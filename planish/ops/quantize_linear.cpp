// QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear: per tensor, per axis and blocked, to integers, FP8 and
// FP4. https://onnx.ai/onnx/operators/ (DequantizeLinear, DynamicQuantizeLinear, QuantizeLinear)

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "planish/base/half.h"
#include "planish/ops/axis_view.h"
#include "planish/ops/broadcast.h"
#include "planish/ops/checks.h"
#include "planish/ops/quantization.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

/// Repeats every slice along `axis` block_size times, and cuts the result to x's dimension (the last block may be
/// shorter).
Tensor repeat_blocks(const Tensor& parameter, const Shape& x, int64_t axis, int64_t block_size) {
  Tensor out(parameter.dtype(), x);
  const AxisView view = axis_view(x, axis);
  const int64_t blocks = parameter.dim(axis);
  for (int64_t o = 0; o < view.outer; ++o)
    for (int64_t a = 0; a < view.length; ++a)
      for (int64_t i = 0; i < view.inner; ++i)
        out.set((o * view.length + a) * view.inner + i, parameter.at((o * blocks + a / block_size) * view.inner + i));
  return out;
}

}  // namespace

IntegerRange integer_range(DType t) {
  const double count = std::ldexp(1.0, dtype_bits(t));
  return dtype_is_signed(t) ? IntegerRange{-count / 2, count / 2 - 1} : IntegerRange{0, count - 1};
}

double quantize_to_integer(double value, double zero_point, IntegerRange range) {
  const double q = (std::isnan(value) ? 0.0 : std::nearbyint(value)) + zero_point;
  return std::clamp(q, range.low, range.high);
}

Result<Tensor> align_quantization(const RefContext& ctx, const Tensor& parameter, const Shape& x, int64_t axis,
                                  int64_t block_size) {
  if (parameter.size() == 1) return parameter.reshaped({});
  const auto rank = static_cast<int64_t>(x.size());
  // ONNX ignores the axis of vectors, and its default of 1 does not even exist there.
  const int64_t at = rank == 1 ? 0 : PLANISH_TRY(normalize_axis(ctx, axis, rank));
  const int64_t length = rank == 0 ? 1 : x[static_cast<size_t>(at)];
  if (parameter.rank() == 1 && parameter.dim(0) == length && block_size <= 1) {
    Shape shape(x.size() - static_cast<size_t>(at), 1);
    shape[0] = length;
    return parameter.reshaped(std::move(shape));
  }
  if (parameter.rank() == rank && block_size > 0) {
    Shape expected = x;
    expected[static_cast<size_t>(at)] = (length + block_size - 1) / block_size;
    if (parameter.shape() == expected) return repeat_blocks(parameter, x, at, block_size);
  }
  Error e = ctx.error("a scale or zero point of shape " + to_string(parameter.shape()) + " does not fit input " +
                          to_string(x) + " with axis " + std::to_string(axis) + " and block_size " +
                          std::to_string(block_size),
                      "give a scalar, one value per element of the axis, or one per block");
  e.code = Code::shape_mismatch;
  return e;
}

namespace {

/// Rounds to the precision in which ONNX asks for the division.
double round_to(DType precision, double v) {
  switch (precision) {
    case DType::f64: return v;
    case DType::f16: return f16(static_cast<float>(v));
    case DType::bf16: return bf16(static_cast<float>(v));
    default: return static_cast<float>(v);
  }
}

Result<DType> quantized_type(const auto& ctx, std::optional<DType> zero_point) {
  const DType type = PLANISH_TRY(dtype_attr(ctx, "output_dtype", zero_point.value_or(DType::u8)));
  if (zero_point && *zero_point != type)
    return ctx.error("output_dtype is " + std::string(dtype_name(type)) + ", but the zero point has type " +
                     std::string(dtype_name(*zero_point)));
  return type;
}

Status infer_quantize(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  const DType type = PLANISH_TRY(quantized_type(ctx, ctx.has(2) ? std::optional(ctx.dtype(2)) : std::nullopt));
  ctx.set(0, type, ctx.shape(0));
  return {};
}

void store_quantized(Tensor& y, int64_t first, int64_t n, const double* quotient, const double* zero_point,
                     bool saturate) {
  if (dtype_is_integer(y.dtype())) {
    const IntegerRange range = integer_range(y.dtype());
    for (int64_t j = 0; j < n; ++j) y.set(first + j, quantize_to_integer(quotient[j], zero_point[j], range));
  } else if (dtype_bits(y.dtype()) == 8) {
    auto* out = y.data<uint8_t>() + first;
    for (int64_t j = 0; j < n; ++j)
      out[j] = float_to_f8(y.dtype(), static_cast<float>(quotient[j] + zero_point[j]), saturate);
  } else {
    for (int64_t j = 0; j < n; ++j) y.set(first + j, quotient[j] + zero_point[j]);
  }
}

/// Scale and zero point of a node, ready to be read along with x. Without a zero point it is one 0.
struct Parameters {
  Tensor scale;
  Tensor zero_point;
};

Result<Parameters> parameters_of(const RefContext& ctx) {
  const Shape& x = ctx.in(0).shape();
  const int64_t axis = ctx.node().attr_int("axis", 1);
  const int64_t block_size = ctx.node().attr_int("block_size", 0);
  Parameters p;
  p.scale = PLANISH_TRY(align_quantization(ctx, ctx.in(1), x, axis, block_size));
  p.zero_point =
      ctx.has(2) ? PLANISH_TRY(align_quantization(ctx, ctx.in(2), x, axis, block_size)) : Tensor::scalar_f32(0.0F);
  return p;
}

/// Calls body(first, n, x, scale, zero_point) for block after block of x, everything in double. The body may write x.
template <typename Body>
void for_each_block(const Tensor& x, const Parameters& p, Body body) {
  BroadcastReader read_scale(p.scale, x.shape());
  BroadcastReader read_zero(p.zero_point, x.shape());
  std::array<double, kElementBlock> v;
  std::array<double, kElementBlock> scale;
  std::array<double, kElementBlock> zero;
  for (int64_t i = 0, total = x.size(); i < total; i += kElementBlock) {
    const int64_t n = std::min(kElementBlock, total - i);
    load_elements(x.dtype(), x.raw(), i, 1, n, v.data());
    read_scale.read(n, scale.data());
    read_zero.read(n, zero.data());
    body(i, n, v.data(), scale.data(), zero.data());
  }
}

Status reference_quantize(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  const DType type = PLANISH_TRY(quantized_type(ctx, ctx.has(2) ? std::optional(ctx.in(2).dtype()) : std::nullopt));
  const DType scale_type = ctx.in(1).dtype();
  const DType precision = PLANISH_TRY(dtype_attr(ctx, "precision", scale_type));
  const bool saturate = ctx.node().attr_int("saturate", 1) != 0;
  const Parameters p = PLANISH_TRY(parameters_of(ctx));
  Tensor* y = PLANISH_TRY(ctx.output(0, type, x.shape()));
  for_each_block(x, p, [&](int64_t first, int64_t n, double* v, const double* scale, const double* zero) {
    for (int64_t j = 0; j < n; ++j)
      v[j] = round_to(precision, round_to(precision, v[j]) / round_to(precision, scale[j]));
    store_quantized(*y, first, n, v, zero, saturate);
  });
  return {};
}

/// float8e8m0 scales have no output type of their own.
Result<DType> dequantized_type(const auto& ctx, DType scale) {
  return dtype_attr(ctx, "output_dtype", scale == DType::f8e8m0 ? DType::f32 : scale);
}

Status infer_dequantize(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  const DType type = PLANISH_TRY(dequantized_type(ctx, ctx.dtype(1)));
  ctx.set(0, type, ctx.shape(0));
  return {};
}

Status reference_dequantize(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  const DType type = PLANISH_TRY(dequantized_type(ctx, ctx.in(1).dtype()));
  const Parameters p = PLANISH_TRY(parameters_of(ctx));
  Tensor* y = PLANISH_TRY(ctx.output(0, type, x.shape()));
  for_each_block(x, p, [&](int64_t first, int64_t n, double* v, const double* scale, const double* zero) {
    for (int64_t j = 0; j < n; ++j) v[j] = (v[j] - zero[j]) * scale[j];
    store_elements(y->dtype(), y->raw(), first, 1, n, v);
  });
  return {};
}

Status infer_dynamic(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  ctx.set(0, DType::u8, ctx.shape(0));
  ctx.set(1, DType::f32, Shape{});
  ctx.set(2, DType::u8, Shape{});
  return {};
}

Status reference_dynamic(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const Tensor& x = ctx.in(0);
  if (x.dtype() != DType::f32) return ctx.error("needs a float input, got " + std::string(dtype_name(x.dtype())));
  float low = 0.0F;
  float high = 0.0F;
  for (const float v : x.span<float>()) {
    low = std::min(low, v);
    high = std::max(high, v);
  }
  // A constant zero input has no range; any scale represents it.
  const float scale = high > low ? (high - low) / 255.0F : 1.0F;
  const IntegerRange range = integer_range(DType::u8);
  const double zero_point = quantize_to_integer(-low / scale, 0.0, range);
  Tensor* y = PLANISH_TRY(ctx.output(0, DType::u8, x.shape()));
  for (int64_t i = 0, n = x.size(); i < n; ++i)
    y->data<uint8_t>()[i] = static_cast<uint8_t>(quantize_to_integer(x.data<float>()[i] / scale, zero_point, range));
  if (ctx.num_outputs() > 1) PLANISH_TRY(ctx.output(1, DType::f32, {}))->set(0, scale);
  if (ctx.num_outputs() > 2) PLANISH_TRY(ctx.output(2, DType::u8, {}))->set(0, zero_point);
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "DequantizeLinear", .since = 10, .infer = infer_dequantize, .reference = reference_dequantize},
    OpDecl{.name = "DynamicQuantizeLinear", .since = 11, .infer = infer_dynamic, .reference = reference_dynamic},
    OpDecl{.name = "QuantizeLinear", .since = 10, .infer = infer_quantize, .reference = reference_quantize},
};

}  // namespace

std::span<const OpDecl> quantize_linear_ops() { return kOps; }

}  // namespace planish
