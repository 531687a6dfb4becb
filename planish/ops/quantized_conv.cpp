// ConvInteger and QLinearConv: convolutions of quantised operands.
// https://onnx.ai/onnx/operators/ (ConvInteger, QLinearConv)

#include <algorithm>
#include <array>
#include <initializer_list>
#include <vector>

#include "planish/ops/checks.h"
#include "planish/ops/convolution.h"
#include "planish/ops/element_buffer.h"
#include "planish/ops/quantization.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

/// Value of a parameter that is a scalar or has one element per output channel.
class PerChannel {
 public:
  explicit PerChannel(const Tensor* t) : t_(t) {}
  [[nodiscard]] double at(int64_t channel) const { return t_ == nullptr ? 0.0 : t_->at(t_->size() == 1 ? 0 : channel); }

 private:
  const Tensor* t_;
};

Status check_per_channel(const RefContext& ctx, size_t input, int64_t channels) {
  if (!ctx.has(input) || ctx.in(input).size() == 1 || ctx.in(input).size() == channels) return {};
  return ctx.error("input " + std::to_string(input) + " has shape " + to_string(ctx.in(input).shape()) +
                   ", expected a scalar or one value for each of the " + std::to_string(channels) + " output channels");
}

/// Operands and zero points of the given inputs must be 8-bit integers, whose sums of products are exact.
Status require_bytes(const RefContext& ctx, std::initializer_list<size_t> inputs) {
  for (const size_t i : inputs)
    if (ctx.has(i) && (!dtype_is_integer(ctx.in(i).dtype()) || dtype_bits(ctx.in(i).dtype()) != 8))
      return ctx.error("input " + std::to_string(i) + " has type " + std::string(dtype_name(ctx.in(i).dtype())) +
                       ", expected int8 or uint8");
  return {};
}

/// operand - zero point of the channel; a channel is `channel_elems` consecutive elements.
template <typename T>
std::vector<T> centred(const Tensor& operand, const PerChannel& zero_point, int64_t channel_elems) {
  std::vector<int64_t> values(static_cast<size_t>(operand.size()));
  load_elements(operand.dtype(), operand.raw(), 0, 1, operand.size(), values.data());
  std::vector<T> out(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const auto zero = static_cast<int64_t>(zero_point.at(static_cast<int64_t>(i) / channel_elems));
    out[i] = static_cast<T>(values[i] - zero);
  }
  return out;
}

template <typename T>
void convolve_centred(const ConvShape& s, const Tensor& x, const Tensor* x_zero, const Tensor& w, const Tensor* w_zero,
                      const T* bias, T* y) {
  const auto cx = centred<T>(x, PerChannel(x_zero), std::max<int64_t>(1, x.size()));
  const auto cw = centred<T>(w, PerChannel(w_zero), std::max<int64_t>(1, w.size() / std::max<int64_t>(1, s.k)));
  convolve(s, cx.data(), cw.data(), bias, y);
}

Status infer_conv_integer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  const ConvShape s = PLANISH_TRY(resolve_conv(ctx.node(), ctx.shape(0), ctx.shape(1)));
  ctx.set(0, DType::i32, s.output());
  return {};
}

Status reference_conv_integer(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  PLANISH_TRY(require_bytes(ctx, {0, 1, 2, 3}));
  const ConvShape s = PLANISH_TRY(resolve_conv(ctx.node(), ctx.in(0).shape(), ctx.in(1).shape()));
  PLANISH_TRY(check_per_channel(ctx, 2, 1));
  PLANISH_TRY(check_per_channel(ctx, 3, s.k));
  Tensor* y = PLANISH_TRY(ctx.output(0, DType::i32, s.output()));
  convolve_centred<uint32_t>(s, ctx.in(0), ctx.has(2) ? &ctx.in(2) : nullptr, ctx.in(1),
                             ctx.has(3) ? &ctx.in(3) : nullptr, nullptr, y->data<uint32_t>());
  return {};
}

Status infer_qlinear_conv(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 8));
  PLANISH_TRY(require_real(ctx));
  const ConvShape s = PLANISH_TRY(resolve_conv(ctx.node(), ctx.shape(0), ctx.shape(3)));
  ctx.set(0, ctx.dtype(7), s.output());
  return {};
}

Status reference_qlinear_conv(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 8));
  PLANISH_TRY(require_real(ctx));
  PLANISH_TRY(require_bytes(ctx, {0, 2, 3, 5}));
  const ConvShape s = PLANISH_TRY(resolve_conv(ctx.node(), ctx.in(0).shape(), ctx.in(3).shape()));
  for (const size_t scalar : {1, 2, 6, 7}) PLANISH_TRY(check_per_channel(ctx, scalar, 1));
  for (const size_t vector : {4, 5}) PLANISH_TRY(check_per_channel(ctx, vector, s.k));
  std::vector<double> bias;
  if (ctx.has(8)) {
    if (ctx.in(8).size() != s.k) return ctx.error("the bias has shape " + to_string(ctx.in(8).shape()));
    bias.resize(static_cast<size_t>(s.k));
    load_elements(ctx.in(8).dtype(), ctx.in(8).raw(), 0, 1, s.k, bias.data());
  }
  const Shape shape = s.output();
  std::vector<double> sums(static_cast<size_t>(element_count(shape)));
  // double holds sums of 8-bit products exactly.
  convolve_centred<double>(s, ctx.in(0), &ctx.in(2), ctx.in(3), &ctx.in(5), bias.empty() ? nullptr : bias.data(),
                           sums.data());
  const DType type = ctx.in(7).dtype();
  if (!dtype_is_integer(type)) return ctx.error("the output type must be an integer type");
  Tensor* y = PLANISH_TRY(ctx.output(0, type, shape));
  const IntegerRange range = integer_range(type);
  const double y_zero = ctx.in(7).at(0);
  const PerChannel w_scale(&ctx.in(4));
  const int64_t plane = s.k == 0 || s.n == 0 ? 1 : std::max<int64_t>(1, y->size() / (s.n * s.k));
  for (int64_t i = 0, n = y->size(); i < n; ++i) {
    const double product = ctx.in(1).at(0) * w_scale.at(i / plane % s.k);
    const float scale = static_cast<float>(product) / static_cast<float>(ctx.in(6).at(0));
    y->set(i, quantize_to_integer(sums[static_cast<size_t>(i)] * static_cast<double>(scale), y_zero, range));
  }
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "ConvInteger", .since = 10, .infer = infer_conv_integer, .reference = reference_conv_integer},
    OpDecl{.name = "QLinearConv", .since = 10, .infer = infer_qlinear_conv, .reference = reference_qlinear_conv},
};

}  // namespace

std::span<const OpDecl> quantized_conv_ops() { return kOps; }

}  // namespace planish
