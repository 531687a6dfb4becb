// Conv, ConvTranspose and our fused forms of them: convolutions over any number of spatial axes.
// https://onnx.ai/onnx/operators/onnx__Conv.html, onnx__ConvTranspose.html
//
// planish.FusedConv(X, W, B?, R?): y = act(conv(X, W) + B + R), or act(conv(X, W) + B) + R with residual_last = 1. The
// attribute y_type names the output's type where it is not that of X. planish.FusedConvTranspose is the same for
// ConvTranspose.
// com.microsoft.FusedConv is the same with the parameters in the list `activation_params`.

#include <array>

#include "planish/ops/checks.h"
#include "planish/ops/convolution.h"
#include "planish/ops/float_view.h"
#include "planish/ops/fused_epilogue.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

using Resolve = Result<ConvShape> (*)(const Node&, const Shape&, const Shape&);

/// Output spatial dimensions: ConvTranspose writes what the convolution it transposes would read.
Shape output_shape(const ConvShape& s, bool transposed) {
  Shape y{s.n, s.k};
  const std::vector<int64_t>& spatial = transposed ? s.window.in : s.window.out;
  y.insert(y.end(), spatial.begin(), spatial.end());
  return y;
}

template <bool kTransposed>
Status infer_conv(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  constexpr Resolve resolve = kTransposed ? resolve_conv_transpose : resolve_conv;
  const ConvShape s = PLANISH_TRY(resolve(ctx.node(), ctx.shape(0), ctx.shape(1)));
  ctx.set(0, PLANISH_TRY(y_type_attr(ctx, ctx.dtype(0))), output_shape(s, kTransposed));
  return {};
}

template <typename Context>
Status check_bias(const Context& ctx, const Tensor* bias, int64_t k) {
  if (bias != nullptr && bias->size() != k)
    return ctx.error("the bias has " + std::to_string(bias->size()) + " elements for " + std::to_string(k) +
                     " output channels");
  return {};
}

template <bool kTransposed>
Status reference_conv(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  constexpr Resolve resolve = kTransposed ? resolve_conv_transpose : resolve_conv;
  const ConvShape s = PLANISH_TRY(resolve(ctx.node(), x.shape(), ctx.in(1).shape()));
  const Tensor* bias = ctx.has(2) ? &ctx.in(2) : nullptr;
  PLANISH_TRY(check_bias(ctx, bias, s.k));
  const FusedEpilogue epilogue = PLANISH_TRY(read_epilogue(ctx.node()));
  const Shape y_shape = output_shape(s, kTransposed);
  const Tensor* residual = ctx.has(3) ? &ctx.in(3) : nullptr;
  if (residual != nullptr && residual->shape() != y_shape)
    return ctx.error("the residual has shape " + to_string(residual->shape()) + ", the output " + to_string(y_shape));
  const DType type = PLANISH_TRY(y_type_attr(ctx, x.dtype()));
  Tensor* y = PLANISH_TRY(ctx.output(0, type, y_shape));
  return in_float_arithmetic(x.dtype(), [&](auto zero) -> Status {
    using T = decltype(zero);
    const FloatInput<T> in(x);
    const FloatInput<T> w(ctx.in(1));
    const FloatInput<T> b = bias != nullptr ? FloatInput<T>(*bias) : FloatInput<T>();
    FloatOutput<T> out(*y);
    constexpr auto run = kTransposed ? convolve_transposed<T> : convolve<T>;
    run(s, in.data(), w.data(), b.data(), out.data());
    apply_epilogue(epilogue, residual, y_shape, out.data());
    out.finish();
    return {};
  });
}

constexpr std::array kOps{
    OpDecl{
        .name = "Conv", .since = 1, .one_type = 0b111, .infer = infer_conv<false>, .reference = reference_conv<false>},
    OpDecl{.name = "ConvTranspose",
           .since = 1,
           .one_type = 0b111,
           .infer = infer_conv<true>,
           .reference = reference_conv<true>},
    OpDecl{.name = "FusedConv",
           .domain = "com.microsoft",
           .since = 1,
           .infer = infer_conv<false>,
           .reference = reference_conv<false>},
    OpDecl{.name = "FusedConv",
           .domain = "planish",
           .since = 1,
           .infer = infer_conv<false>,
           .reference = reference_conv<false>},
    OpDecl{.name = "FusedConvTranspose",
           .domain = "planish",
           .since = 1,
           .infer = infer_conv<true>,
           .reference = reference_conv<true>},
};

}  // namespace

std::span<const OpDecl> conv_ops() { return kOps; }

}  // namespace planish
