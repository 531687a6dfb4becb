// LinearAttention and CausalConvWithState: layers with a state that a decoder carries from call to call.
// https://onnx.ai/onnx/operators/onnx__LinearAttention.html, onnx__CausalConvWithState.html
//
// Names: B batch, S tokens, K key size, V value size per head.

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "planish/ops/checks.h"
#include "planish/ops/float_view.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

enum Input : size_t { kQuery, kKey, kValue, kPast, kDecay, kBeta };

struct LinearShape {
  int64_t batch = 0;
  int64_t tokens = 0;
  int64_t q_heads = 0;
  int64_t kv_heads = 0;
  int64_t key = 0;
  int64_t value = 0;

  [[nodiscard]] Shape output() const { return {batch, tokens, dim_mul(q_heads, value)}; }
  [[nodiscard]] Shape state() const { return {batch, kv_heads, key, value}; }
};

template <typename Context>
Result<LinearShape> resolve(const Context& ctx, const Shape& q, const Shape& v) {
  LinearShape s{.q_heads = ctx.node().attr_int("q_num_heads", 0), .kv_heads = ctx.node().attr_int("kv_num_heads", 0)};
  if (s.q_heads < 1 || s.kv_heads < 1 || s.q_heads % s.kv_heads != 0)
    return ctx.error("q_num_heads must be a positive multiple of kv_num_heads");
  if (q.size() != 3 || v.size() != 3) return ctx.error("query, key and value must have rank 3");
  s.batch = q[0];
  s.tokens = q[1];
  s.key = q[2] < 0 ? kUnknownDim : q[2] / s.q_heads;
  s.value = v[2] < 0 ? kUnknownDim : v[2] / s.kv_heads;
  return s;
}

Status infer_linear(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  const LinearShape s = PLANISH_TRY(resolve(ctx, ctx.shape(kQuery), ctx.shape(kValue)));
  ctx.set(0, ctx.dtype(kQuery), s.output());
  ctx.set(1, ctx.has(kPast) ? ctx.dtype(kPast) : ctx.dtype(kQuery), s.state());
  return {};
}

struct UpdateRule {
  bool decays = false;
  bool corrects = false;
};

/// Checks every shape that the recurrence reads.
Result<UpdateRule> check_linear(const RefContext& ctx, const LinearShape& s) {
  const std::string rule = ctx.node().attr_string("update_rule", "gated_delta");
  if (rule != "linear" && rule != "gated" && rule != "delta" && rule != "gated_delta")
    return ctx.error("update_rule is '" + rule + "'");
  const UpdateRule r{rule == "gated" || rule == "gated_delta", rule == "delta" || rule == "gated_delta"};
  if (r.decays != ctx.has(kDecay) || r.corrects != ctx.has(kBeta))
    return ctx.error("update_rule '" + rule + "' does not fit the decay and beta inputs given");
  const auto is = [&](size_t i, int64_t last) { return ctx.in(i).shape() == Shape{s.batch, s.tokens, last}; };
  if (!is(kQuery, s.q_heads * s.key) || !is(kKey, s.kv_heads * s.key) || !is(kValue, s.kv_heads * s.value) ||
      (ctx.has(kPast) && ctx.in(kPast).shape() != s.state()) ||
      (r.decays && !is(kDecay, s.kv_heads) && !is(kDecay, s.kv_heads * s.key)) ||
      (r.corrects && !is(kBeta, s.kv_heads) && !is(kBeta, 1)))
    return ctx.error("the inputs do not fit together: query " + to_string(ctx.in(kQuery).shape()) + ", key " +
                     to_string(ctx.in(kKey).shape()) + ", value " + to_string(ctx.in(kValue).shape()));
  return r;
}

/// state[K,V] of one head after a token: decay, optional correction towards the value, outer product.
void update_state(const LinearShape& s, const double* decay, bool per_key, double beta, bool corrects,
                  const double* key, const double* value, double* state) {
  if (decay != nullptr)
    for (int64_t i = 0; i < s.key; ++i)
      for (int64_t j = 0; j < s.value; ++j) state[i * s.value + j] *= std::exp(decay[per_key ? i : 0]);
  for (int64_t j = 0; j < s.value; ++j) {
    double v = value[j];
    if (corrects) {
      for (int64_t i = 0; i < s.key; ++i) v -= state[i * s.value + j] * key[i];
      v *= beta;
    }
    for (int64_t i = 0; i < s.key; ++i) state[i * s.value + j] += key[i] * v;
  }
}

Status reference_linear(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  PLANISH_TRY(require_real(ctx));
  const LinearShape s = PLANISH_TRY(resolve(ctx, ctx.in(kQuery).shape(), ctx.in(kValue).shape()));
  const UpdateRule rule = PLANISH_TRY(check_linear(ctx, s));
  const DType type = ctx.in(kQuery).dtype();
  Tensor* y = PLANISH_TRY(ctx.output(0, type, s.output()));
  const DType state_type = ctx.has(kPast) ? ctx.in(kPast).dtype() : type;
  Tensor* present = ctx.wants(1) ? PLANISH_TRY(ctx.output(1, state_type, s.state())) : nullptr;
  const FloatInput<double> q(ctx.in(kQuery));
  const FloatInput<double> k(ctx.in(kKey));
  const FloatInput<double> v(ctx.in(kValue));
  const FloatInput<double> decay = rule.decays ? FloatInput<double>(ctx.in(kDecay)) : FloatInput<double>();
  const FloatInput<double> beta = rule.corrects ? FloatInput<double>(ctx.in(kBeta)) : FloatInput<double>();
  FloatOutput<double> out(*y);
  std::vector<double> state(static_cast<size_t>(element_count(s.state())), 0.0);
  if (ctx.has(kPast)) {
    const FloatInput<double> past(ctx.in(kPast));
    std::copy_n(past.data(), state.size(), state.begin());
  }
  auto scale = static_cast<double>(ctx.node().attr_float("scale", 0));
  if (scale == 0) scale = 1.0 / std::sqrt(static_cast<double>(std::max<int64_t>(s.key, 1)));
  const int64_t decay_row = rule.decays ? ctx.in(kDecay).dim(2) : 0;
  const int64_t beta_row = rule.corrects ? ctx.in(kBeta).dim(2) : 0;
  const int64_t shared = s.q_heads / s.kv_heads;
  for (int64_t b = 0; b < s.batch; ++b)
    for (int64_t t = 0; t < s.tokens; ++t)
      for (int64_t h = 0; h < s.kv_heads; ++h) {
        const int64_t token = b * s.tokens + t;
        double* head = state.data() + (b * s.kv_heads + h) * s.key * s.value;
        const bool per_key = decay_row != s.kv_heads;
        const double* d = rule.decays ? decay.data() + token * decay_row + (per_key ? h * s.key : h) : nullptr;
        const double rate = rule.corrects ? beta[token * beta_row + (beta_row == 1 ? 0 : h)] : 1.0;
        update_state(s, d, per_key, rate, rule.corrects, k.data() + (token * s.kv_heads + h) * s.key,
                     v.data() + (token * s.kv_heads + h) * s.value, head);
        for (int64_t g = h * shared; g < (h + 1) * shared; ++g)
          for (int64_t j = 0; j < s.value; ++j) {
            double sum = 0;
            for (int64_t i = 0; i < s.key; ++i) sum += q[(token * s.q_heads + g) * s.key + i] * head[i * s.value + j];
            out[(token * s.q_heads + g) * s.value + j] = scale * sum;
          }
      }
  out.finish();
  if (present != nullptr) {
    FloatOutput<double> to(*present);
    std::ranges::copy(state, to.data());
    to.finish();
  }
  return {};
}

/// Kernel length of weight [C,1,k].
template <typename Context>
Result<int64_t> causal_taps(const Context& ctx, const Shape& x, const Shape& w) {
  if (x.size() != 3 || w.size() != 3 || w[2] == 0) return ctx.error("input and weight must have rank 3");
  if ((x[1] >= 0 && w[0] >= 0 && x[1] != w[0]) || (w[1] >= 0 && w[1] != 1))
    return ctx.error("the weight must be [C,1,k] for an input [N,C,L]; they are " + to_string(w) + " and " +
                     to_string(x));
  return w[2];
}

Status infer_causal_conv(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  const Shape& x = ctx.shape(0);
  const int64_t taps = PLANISH_TRY(causal_taps(ctx, x, ctx.shape(1)));
  ctx.set(0, ctx.dtype(0), x);
  ctx.set(1, ctx.dtype(0), Shape{x[0], x[1], taps < 0 ? kUnknownDim : taps - 1});
  return {};
}

Status reference_causal_conv(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  const int64_t taps = PLANISH_TRY(causal_taps(ctx, x.shape(), ctx.in(1).shape()));
  const Shape state_shape{x.dim(0), x.dim(1), taps - 1};
  if ((ctx.has(2) && ctx.in(2).size() != x.dim(1)) || (ctx.has(3) && ctx.in(3).shape() != state_shape))
    return ctx.error("bias or past_state has the wrong shape");
  const std::string activation = ctx.node().attr_string("activation", "none");
  if (activation != "none" && activation != "silu" && activation != "swish")
    return ctx.error("activation is '" + activation + "'", "use silu, swish or none");
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), x.shape()));
  Tensor* present = ctx.wants(1) ? PLANISH_TRY(ctx.output(1, x.dtype(), state_shape)) : nullptr;
  const FloatInput<double> in(x);
  const FloatInput<double> w(ctx.in(1));
  const FloatInput<double> bias = ctx.has(2) ? FloatInput<double>(ctx.in(2)) : FloatInput<double>();
  const FloatInput<double> past = ctx.has(3) ? FloatInput<double>(ctx.in(3)) : FloatInput<double>();
  FloatOutput<double> out(*y);
  const int64_t channels = x.dim(1);
  const int64_t length = x.dim(2);
  std::vector<double> line(static_cast<size_t>(taps - 1 + length));
  for (int64_t row = 0; row < x.dim(0) * channels; ++row) {
    const int64_t c = row % channels;
    for (int64_t i = 0; i < taps - 1; ++i)
      line[static_cast<size_t>(i)] = past.data() == nullptr ? 0.0 : past[row * (taps - 1) + i];
    std::copy_n(in.data() + row * length, length, line.begin() + (taps - 1));
    for (int64_t i = 0; i < length; ++i) {
      double sum = bias.data() == nullptr ? 0.0 : bias[c];
      for (int64_t r = 0; r < taps; ++r) sum += w[c * taps + r] * line[static_cast<size_t>(i + r)];
      out[row * length + i] = activation == "none" ? sum : sum / (1.0 + std::exp(-sum));
    }
    for (int64_t i = 0; present != nullptr && i < taps - 1; ++i)
      present->set(row * (taps - 1) + i, line[static_cast<size_t>(length + i)]);
  }
  out.finish();
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "CausalConvWithState", .since = 27, .infer = infer_causal_conv, .reference = reference_causal_conv},
    OpDecl{.name = "LinearAttention", .since = 27, .infer = infer_linear, .reference = reference_linear},
};

}  // namespace

std::span<const OpDecl> linear_attention_ops() { return kOps; }

}  // namespace planish
