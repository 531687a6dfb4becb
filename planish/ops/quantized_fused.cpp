// planish.QuantizedConv(X, W, w_scale, B?, R?) and planish.QuantizedMatMul(A, B, b_scale, bias?, R?): products of 8-bit
// integers with everything behind them in one step. docs/quantisation.md has the definition; in short
//   v = act(sum((X - x_zero) * W) * x_scale * w_scale + B + (R - r_zero) * r_scale),
//   Y = saturate(round(v / y_scale) + y_zero), or v itself where y_type is f32.

#include "planish/ops/quantized_fused.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "planish/ops/broadcast.h"
#include "planish/ops/checks.h"
#include "planish/ops/convolution.h"
#include "planish/ops/element_buffer.h"
#include "planish/ops/gemm.h"
#include "planish/ops/infer_graph.h"
#include "planish/ops/matmul_shape.h"
#include "planish/ops/quantization.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

constexpr size_t kScale = 2;
constexpr size_t kBias = 3;
constexpr size_t kResidual = 4;

bool is_byte(DType t) { return t == DType::i8 || t == DType::u8; }

template <typename Context>
Status check_types(const Context& ctx, const auto& dtype_of) {
  PLANISH_TRY(require_inputs(ctx, 3));
  for (const size_t i : {size_t{0}, size_t{1}, kScale, kBias, kResidual}) {
    if (!ctx.has(i)) continue;
    const DType t = dtype_of(i);
    const bool good = i < kScale ? is_byte(t) : t == DType::f32 || (i == kResidual && is_byte(t));
    if (!good)
      return ctx.error("input " + std::to_string(i) + " has type " + std::string(dtype_name(t)) + ", expected " +
                       (i < kScale       ? "int8 or uint8"
                        : i == kResidual ? "int8, uint8 or float"
                                         : "float"));
  }
  return {};
}

Status check_types(const InferContext& ctx) {
  return check_types(ctx, [&](size_t i) { return ctx.dtype(i); });
}
Status check_types(const RefContext& ctx) {
  return check_types(ctx, [&](size_t i) { return ctx.in(i).dtype(); });
}

/// The operand less its zero point, modulo 2^32.
std::vector<uint32_t> centred(const Tensor& operand, int64_t zero) {
  std::vector<int64_t> values(static_cast<size_t>(operand.size()));
  load_elements(operand.dtype(), operand.raw(), 0, 1, operand.size(), values.data());
  std::vector<uint32_t> out(values.size());
  std::ranges::transform(values, out.begin(), [zero](int64_t v) { return static_cast<uint32_t>(v - zero); });
  return out;
}

/// The residual in real numbers; undefined when there is none.
Tensor real_residual(const RefContext& ctx, const QuantizedAttrs& q) {
  if (!ctx.has(kResidual)) return {};
  const Tensor& r = ctx.in(kResidual);
  if (r.dtype() == DType::f32) return r;
  Tensor out(DType::f32, r.shape());
  for (int64_t i = 0, n = r.size(); i < n; ++i)
    out.data<float>()[i] = static_cast<float>(r.at(i) - static_cast<double>(q.r.zero)) * q.r.scale;
  return out;
}

/// What follows the sums. `channel(i)`: index into the scales of element i. `bias` is broadcast to the output.
template <typename Channel>
Status finish(RefContext& ctx, const QuantizedAttrs& q, const Shape& y_shape, const std::vector<uint32_t>& sums,
              float factor, Channel channel, const Tensor& bias) {
  const Tensor residual = real_residual(ctx, q);
  for (const Tensor* t : {&bias, &residual})
    if (t->defined() && broadcast_shapes(t->shape(), y_shape) != y_shape)
      return ctx.error(to_string(t->shape()) + " does not broadcast to the output's shape " + to_string(y_shape));
  const Tensor& scale = ctx.in(kScale);
  std::vector<float> v(sums.size());
  for (size_t i = 0; i < sums.size(); ++i) {
    const float multiplier = factor * scale.data<float>()[scale.size() == 1 ? 0 : channel(static_cast<int64_t>(i))];
    v[i] = static_cast<float>(static_cast<int32_t>(sums[i])) * multiplier;
  }
  apply_epilogue(FusedEpilogue{}, bias.defined() ? &bias : nullptr, y_shape, v.data());
  apply_epilogue(q.epilogue, residual.defined() ? &residual : nullptr, y_shape, v.data());
  Tensor* y = PLANISH_TRY(ctx.output(0, q.y_type, y_shape));
  if (q.y_type == DType::f32) {
    std::ranges::copy(v, y->data<float>());
    return {};
  }
  const IntegerRange range = integer_range(q.y_type);
  const auto zero = static_cast<double>(q.y.zero);
  for (size_t i = 0; i < v.size(); ++i)
    y->set(static_cast<int64_t>(i), quantize_to_integer(static_cast<double>(v[i] / q.y.scale), zero, range));
  return {};
}

Status infer_conv(InferContext& ctx) {
  PLANISH_TRY(check_types(ctx));
  const QuantizedAttrs q = PLANISH_TRY(read_quantized_attrs(ctx.node()));
  const ConvShape s = PLANISH_TRY(resolve_conv(ctx.node(), ctx.shape(0), ctx.shape(1)));
  ctx.set(0, q.y_type, s.output());
  return {};
}

Status reference_conv(RefContext& ctx) {
  PLANISH_TRY(check_types(ctx));
  const QuantizedAttrs q = PLANISH_TRY(read_quantized_attrs(ctx.node()));
  const ConvShape s = PLANISH_TRY(resolve_conv(ctx.node(), ctx.in(0).shape(), ctx.in(1).shape()));
  for (const size_t i : {kScale, kBias})
    if (ctx.has(i) && ctx.in(i).size() != s.k && !(i == kScale && ctx.in(i).size() == 1))
      return ctx.error("input " + std::to_string(i) + " has shape " + to_string(ctx.in(i).shape()) + " for " +
                       std::to_string(s.k) + " output channels");
  const Shape shape = s.output();
  std::vector<uint32_t> sums(static_cast<size_t>(element_count(shape)));
  const auto x = centred(ctx.in(0), q.x.zero);
  const auto w = centred(ctx.in(1), 0);
  convolve<uint32_t>(s, x.data(), w.data(), nullptr, sums.data());
  Tensor bias;
  if (ctx.has(kBias)) {
    Shape column(shape.size() - 1, 1);
    column[0] = s.k;
    bias = ctx.in(kBias).reshaped(column);
  }
  const int64_t plane = std::max<int64_t>(1, element_count(s.window.out));
  const int64_t channels = std::max<int64_t>(1, s.k);
  return finish(
      ctx, q, shape, sums, q.x.scale, [=](int64_t i) { return i / plane % channels; }, bias);
}

struct Transposes {
  bool a = false;
  bool b = false;
};

template <typename Context>
Result<MatMulShape> matmul_shape(const Context& ctx, const Shape& a, const Shape& b, Transposes t) {
  auto s = resolve_matmul(a, b, t.a, t.b);
  if (!s) return ctx.error("cannot multiply " + to_string(a) + " by " + to_string(b));
  return std::move(*s);
}

Transposes transposes(const Node& node) { return {node.attr_int("trans_a", 0) != 0, node.attr_int("trans_b", 0) != 0}; }

Status infer_matmul(InferContext& ctx) {
  PLANISH_TRY(check_types(ctx));
  const QuantizedAttrs q = PLANISH_TRY(read_quantized_attrs(ctx.node()));
  ctx.set(0, q.y_type, PLANISH_TRY(matmul_shape(ctx, ctx.shape(0), ctx.shape(1), transposes(ctx.node()))).y);
  return {};
}

Status reference_matmul(RefContext& ctx) {
  PLANISH_TRY(check_types(ctx));
  const QuantizedAttrs q = PLANISH_TRY(read_quantized_attrs(ctx.node()));
  const Transposes t = transposes(ctx.node());
  const MatMulShape s = PLANISH_TRY(matmul_shape(ctx, ctx.in(0).shape(), ctx.in(1).shape(), t));
  if (ctx.in(kScale).size() != 1 && ctx.in(kScale).size() != s.n)
    return ctx.error("b_scale has shape " + to_string(ctx.in(kScale).shape()) + " for " + std::to_string(s.n) +
                     " columns");
  const auto a = centred(ctx.in(0), q.x.zero);
  const auto b = centred(ctx.in(1), q.w_zero);
  std::vector<uint32_t> sums(static_cast<size_t>(element_count(s.y)), 0U);
  StridedCursor a_at(s.batch, broadcast_strides(s.a_batch, s.batch));
  StridedCursor b_at(s.batch, broadcast_strides(s.b_batch, s.batch));
  for (int64_t i = 0, n = element_count(s.batch); i < n; ++i) {
    const MatrixView<uint32_t> A{a.data() + a_at.next(1).offset * s.m * s.k, t.a ? 1 : s.k, t.a ? s.m : 1};
    const MatrixView<uint32_t> B{b.data() + b_at.next(1).offset * s.k * s.n, t.b ? 1 : s.n, t.b ? s.k : 1};
    gemm<uint32_t>(s.m, s.n, s.k, A, B, sums.data() + i * s.m * s.n, s.n);
  }
  const float factor = q.x.scale * ctx.node().attr_float("alpha", 1);
  const int64_t columns = std::max<int64_t>(1, s.n);
  const Tensor bias = ctx.has(kBias) ? ctx.in(kBias) : Tensor();
  return finish(
      ctx, q, s.y, sums, factor, [=](int64_t i) { return i % columns; }, bias);
}

constexpr std::array kOps{
    OpDecl{.name = "QuantizedConv", .domain = "planish", .since = 1, .infer = infer_conv, .reference = reference_conv},
    OpDecl{.name = "QuantizedMatMul",
           .domain = "planish",
           .since = 1,
           .infer = infer_matmul,
           .reference = reference_matmul},
};

}  // namespace

Result<QuantizedAttrs> read_quantized_attrs(const Node& node) {
  const auto fail = [&node](std::string what) {
    return Error{.code = Code::invalid_model, .node = node.name, .what = node.op + ": " + std::move(what)};
  };
  const std::string x = node.op == "QuantizedMatMul" ? "a" : "x";
  const auto scale_of = [&node](const std::string& prefix) {
    return TensorScale{node.attr_float(prefix + "_scale", 1), node.attr_int(prefix + "_zero", 0)};
  };
  QuantizedAttrs q;
  q.x = scale_of(x);
  q.x_low = node.attr_int(x + "_low", -128);
  q.w_zero = node.attr_int("b_zero", 0);
  q.y = scale_of("y");
  q.r = scale_of("r");
  for (const TensorScale& s : {q.x, q.y, q.r})
    if (!(s.scale > 0) || !std::isfinite(s.scale)) return fail("scales must be positive and finite");
  const auto type = dtype_from_name(node.attr_string("y_type", "f32"));
  if (!type || (!is_byte(*type) && *type != DType::f32)) return fail("y_type must be i8, u8 or f32");
  q.y_type = *type;
  // Kernels compute with 32-bit zero points; nothing outside the types' union makes sense.
  for (const int64_t zero : {q.x.zero, q.w_zero, q.y.zero, q.r.zero})
    if (zero < -128 || zero > 255) return fail("zero point " + std::to_string(zero) + " is outside of 8 bits");
  q.epilogue = PLANISH_TRY(read_epilogue(node));
  return q;
}

std::span<const OpDecl> quantized_fused_ops() { return kOps; }

}  // namespace planish
