// Operators of domain com.microsoft that ONNX Runtime's optimiser and quantisation tools write into models: Gelu,
// FastGelu, BiasGelu, QuickGelu, SkipLayerNormalization, SkipSimplifiedLayerNormalization.
// https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "planish/ops/broadcast.h"
#include "planish/ops/checks.h"
#include "planish/ops/float_view.h"
#include "planish/ops/infer_graph.h"
#include "planish/ops/registry.h"
#include "planish/ops/scalar_functions.h"

namespace planish {
namespace {

constexpr std::string_view kDomain = "com.microsoft";

Status infer_same(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  ctx.set(0, ctx.dtype(0), ctx.shape(0));
  return {};
}

/// y = f(x + bias), where f is Gelu in one of its forms.
Status reference_gelu(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  const bool biased = ctx.has(1);
  if (biased && broadcast_shapes(ctx.in(1).shape(), x.shape()) != x.shape())
    return ctx.error("the bias of shape " + to_string(ctx.in(1).shape()) + " does not broadcast to " +
                     to_string(x.shape()));
  const bool quick = ctx.node().op == "QuickGelu";
  const UnaryFunction* f = find_unary_function(quick ? "Swish" : "Gelu");
  ScalarParams params = f->default_params();
  params.approximate_tanh = ctx.node().op == "FastGelu";
  if (quick) params.alpha = static_cast<double>(ctx.node().attr_float("alpha", 1.702F));
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), x.shape()));
  const FloatInput<double> in(x);
  FloatOutput<double> out(*y);
  std::vector<double> bias(static_cast<size_t>(biased ? x.size() : 0));
  if (biased) BroadcastReader(ctx.in(1), x.shape()).read(x.size(), bias.data());
  for (int64_t i = 0; i < x.size(); ++i) out[i] = in[i] + (biased ? bias[static_cast<size_t>(i)] : 0.0);
  f->block(x.size(), out.data(), out.data(), params);
  out.finish();
  return {};
}

/// Inputs of SkipLayerNormalization: input, skip, gamma, beta?, bias?. The simplified form has no beta.
size_t bias_input(const Node& node) { return node.op == "SkipLayerNormalization" ? 4 : 3; }

Status infer_skip(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  const Shape& x = ctx.shape(0);
  if (x.empty()) return ctx.error("the input must have at least one dimension");
  Shape small = x;
  small.back() = 1;
  ctx.set(0, ctx.dtype(0), x);
  ctx.set(1, DType::f32, small);
  ctx.set(2, DType::f32, small);
  ctx.set(3, ctx.dtype(0), x);
  return {};
}

/// s = input + skip + bias; y = (s - mean) / sqrt(var + epsilon) * gamma + beta over the last dimension. Outputs: y,
/// mean, 1 / standard deviation, s.
Status reference_skip(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  if (x.rank() < 1) return ctx.error("the input must have at least one dimension");
  const bool centred = ctx.node().op == "SkipLayerNormalization";
  const int64_t size = x.dim(-1);
  const size_t bias_at = bias_input(ctx.node());
  if (broadcast_shapes(ctx.in(1).shape(), x.shape()) != x.shape())
    return ctx.error("skip of shape " + to_string(ctx.in(1).shape()) + " does not broadcast to " +
                     to_string(x.shape()));
  for (size_t i = 2; i <= bias_at; ++i)
    if (ctx.has(i) && ctx.in(i).size() != size)
      return ctx.error("input " + std::to_string(i) + " must have " + std::to_string(size) + " elements");
  Shape small = x.shape();
  small.back() = 1;
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), x.shape()));
  Tensor* mean_out = ctx.wants(1) ? PLANISH_TRY(ctx.output(1, DType::f32, small)) : nullptr;
  Tensor* inv_out = ctx.wants(2) ? PLANISH_TRY(ctx.output(2, DType::f32, small)) : nullptr;
  Tensor* sum_out = ctx.wants(3) ? PLANISH_TRY(ctx.output(3, x.dtype(), x.shape())) : nullptr;
  const auto epsilon = static_cast<double>(ctx.node().attr_float("epsilon", 1e-12F));
  const FloatInput<double> in(x);
  const FloatInput<double> gamma(ctx.in(2));
  const FloatInput<double> beta = centred && ctx.has(3) ? FloatInput<double>(ctx.in(3)) : FloatInput<double>();
  const FloatInput<double> bias = ctx.has(bias_at) ? FloatInput<double>(ctx.in(bias_at)) : FloatInput<double>();
  FloatOutput<double> out(*y);
  BroadcastReader skip(ctx.in(1), x.shape());
  std::vector<double> sum(static_cast<size_t>(size));
  const int64_t rows = size == 0 ? 0 : x.size() / size;
  for (int64_t row = 0; row < rows; ++row) {
    skip.read(size, sum.data());
    double mean = 0;
    for (int64_t i = 0; i < size; ++i) {
      double& v = sum[static_cast<size_t>(i)];
      v += in[row * size + i] + (bias.data() == nullptr ? 0.0 : bias[i]);
      mean += v / static_cast<double>(size);
      if (sum_out != nullptr) sum_out->set(row * size + i, v);
    }
    if (!centred) mean = 0;
    double variance = 0;
    for (const double v : sum) variance += (v - mean) * (v - mean) / static_cast<double>(size);
    const double inverse = 1.0 / std::sqrt(variance + epsilon);
    for (int64_t i = 0; i < size; ++i)
      out[row * size + i] =
          (sum[static_cast<size_t>(i)] - mean) * inverse * gamma[i] + (beta.data() == nullptr ? 0.0 : beta[i]);
    if (mean_out != nullptr) mean_out->set(row, mean);
    if (inv_out != nullptr) inv_out->set(row, inverse);
  }
  out.finish();
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "BiasGelu", .domain = kDomain, .infer = infer_same, .reference = reference_gelu},
    OpDecl{.name = "FastGelu", .domain = kDomain, .infer = infer_same, .reference = reference_gelu},
    OpDecl{.name = "Gelu", .domain = kDomain, .infer = infer_same, .reference = reference_gelu},
    OpDecl{.name = "QuickGelu", .domain = kDomain, .infer = infer_same, .reference = reference_gelu},
    OpDecl{.name = "SkipLayerNormalization", .domain = kDomain, .infer = infer_skip, .reference = reference_skip},
    OpDecl{.name = "SkipSimplifiedLayerNormalization",
           .domain = kDomain,
           .infer = infer_skip,
           .reference = reference_skip},
};

}  // namespace

std::span<const OpDecl> contrib_ops() { return kOps; }

}  // namespace planish
