// ai.onnx.preview.FlexAttention: attention whose scores and probabilities may be changed by subgraphs.
// https://github.com/onnx/onnx, onnx/defs/nn (preview domain, version 1)

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "planish/ops/checks.h"
#include "planish/ops/control_flow.h"
#include "planish/ops/float_view.h"
#include "planish/ops/gemm.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

struct FlexShape {
  int64_t batch = 0;
  int64_t q_heads = 0;
  int64_t kv_heads = 0;
  int64_t queries = 0;
  int64_t keys = 0;
  int64_t head = 0;
  int64_t v_head = 0;

  [[nodiscard]] Shape scores() const { return {batch, q_heads, queries, keys}; }
  [[nodiscard]] Shape y() const { return {batch, q_heads, queries, v_head}; }
};

template <typename Context>
Result<FlexShape> resolve(const Context& ctx, const Shape& q, const Shape& k, const Shape& v) {
  const auto fits = [](int64_t a, int64_t b) { return a < 0 || b < 0 || a == b; };
  if (q.size() != 4 || k.size() != 4 || v.size() != 4 || !fits(q[0], k[0]) || !fits(q[0], v[0]) || !fits(k[1], v[1]) ||
      !fits(k[2], v[2]) || !fits(q[3], k[3]))
    return ctx.error("Q, K and V do not fit together: " + to_string(q) + ", " + to_string(k) + ", " + to_string(v));
  const FlexShape s{q[0], q[1], k[1], q[2], k[2], q[3], v[3]};
  if (s.q_heads >= 0 && s.kv_heads >= 0 && (s.kv_heads == 0 || s.q_heads % s.kv_heads != 0))
    return ctx.error(std::to_string(s.q_heads) + " query heads cannot share " + std::to_string(s.kv_heads) +
                     " key heads evenly");
  return s;
}

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  ctx.set(0, ctx.dtype(0), PLANISH_TRY(resolve(ctx, ctx.shape(0), ctx.shape(1), ctx.shape(2))).y());
  return {};
}

/// Runs the subgraph behind attribute `key` on `x`, where there is one. It must keep shape and type.
Status modify(RefContext& ctx, const std::string& key, Tensor& x) {
  const auto graph = ctx.node().attr_graph(key);
  if (graph == nullptr) return {};
  std::vector<Tensor> out = PLANISH_TRY(run_body(ctx, *graph, std::span(&x, 1)));
  if (out.size() != 1 || out[0].shape() != x.shape() || out[0].dtype() != x.dtype())
    return ctx.error(key + " must return one tensor of the shape and type that it is given");
  x = std::move(out[0]);
  return {};
}

template <typename T>
void softmax_rows(std::vector<T>& x, int64_t width) {
  for (size_t at = 0; width > 0 && at < x.size(); at += static_cast<size_t>(width)) {
    const std::span<T> row(x.data() + at, static_cast<size_t>(width));
    const T top = *std::ranges::max_element(row);
    double sum = 0;
    for (T& v : row) sum += static_cast<double>(v = std::exp(v - top));
    for (T& v : row) v = static_cast<T>(static_cast<double>(v) / sum);
  }
}

template <typename T>
Status attend(RefContext& ctx, const FlexShape& s, DType softmax_type, Tensor& y) {
  const FloatInput<T> q(ctx.in(0));
  const FloatInput<T> k(ctx.in(1));
  const FloatInput<T> v(ctx.in(2));
  const double scale = ctx.node().has_attr("scale")
                           ? static_cast<double>(ctx.node().attr_float("scale", 1))
                           : 1.0 / std::sqrt(static_cast<double>(std::max<int64_t>(s.head, 1)));
  const int64_t matrix = s.queries * s.keys;
  const auto kv_of = [&](int64_t i) { return i / s.q_heads * s.kv_heads + i % s.q_heads / (s.q_heads / s.kv_heads); };
  std::vector<T> weights(static_cast<size_t>(element_count(s.scores())), T{});
  for (int64_t i = 0; i < s.batch * s.q_heads; ++i)
    gemm<T>(s.queries, s.keys, s.head, {q.data() + i * s.queries * s.head, s.head, 1},
            {k.data() + kv_of(i) * s.keys * s.head, 1, s.head}, weights.data() + i * matrix, s.keys);
  for (T& w : weights) w *= static_cast<T>(scale);
  // The subgraphs see tensors of the softmax type.
  const auto pass_through = [&](const std::string& key) -> Status {
    if (ctx.node().attr_graph(key) == nullptr) return {};
    Tensor stage(softmax_type, s.scores());
    FloatOutput<T> to(stage);
    std::ranges::copy(weights, to.data());
    to.finish();
    PLANISH_TRY(modify(ctx, key, stage));
    const FloatInput<T> from(stage);
    std::copy_n(from.data(), weights.size(), weights.begin());
    return {};
  };
  PLANISH_TRY(pass_through("score_mod"));
  softmax_rows(weights, s.keys);
  PLANISH_TRY(pass_through("prob_mod"));
  FloatOutput<T> out(y);
  std::fill_n(out.data(), y.size(), T{});
  for (int64_t i = 0; i < s.batch * s.q_heads; ++i)
    gemm<T>(s.queries, s.v_head, s.keys, {weights.data() + i * matrix, s.keys, 1},
            {v.data() + kv_of(i) * s.keys * s.v_head, s.v_head, 1}, out.data() + i * s.queries * s.v_head, s.v_head);
  out.finish();
  return {};
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  PLANISH_TRY(require_real(ctx));
  const FlexShape s = PLANISH_TRY(resolve(ctx, ctx.in(0).shape(), ctx.in(1).shape(), ctx.in(2).shape()));
  const DType type = ctx.in(0).dtype();
  const DType softmax_type =
      PLANISH_TRY(dtype_attr(ctx, "softmax_precision", type == DType::f64 ? DType::f64 : DType::f32));
  if (!dtype_is_float(softmax_type)) return ctx.error("softmax_precision must be a floating-point type");
  Tensor* y = PLANISH_TRY(ctx.output(0, type, s.y()));
  return in_float_arithmetic(softmax_type == DType::f64 ? DType::f64 : type,
                             [&](auto zero) { return attend<decltype(zero)>(ctx, s, softmax_type, *y); });
}

constexpr std::array kOps{
    OpDecl{.name = "FlexAttention", .domain = "ai.onnx.preview", .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> flex_attention_ops() { return kOps; }

}  // namespace planish
