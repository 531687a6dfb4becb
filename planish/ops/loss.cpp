// NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss.
// https://onnx.ai/onnx/operators/ (NegativeLogLikelihoodLoss, SoftmaxCrossEntropyLoss)

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "planish/ops/axis_view.h"
#include "planish/ops/checks.h"
#include "planish/ops/element_buffer.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

bool is_cross_entropy(const Node& node) { return node.op == "SoftmaxCrossEntropyLoss"; }

/// Scores are [N, C, d1, ...]; labels must be [N, d1, ...].
template <typename Context>
Status check_shapes(const Context& ctx, const Shape& scores, const Shape& labels) {
  bool fits = scores.size() >= 2 && labels.size() + 1 == scores.size();
  for (size_t i = 0; fits && i < labels.size(); ++i) {
    const int64_t d = scores[i == 0 ? 0 : i + 1];
    fits = d == labels[i] || d < 0 || labels[i] < 0;
  }
  if (fits) return {};
  Error e = ctx.error("scores are " + to_string(scores) + " and labels " + to_string(labels) +
                      ", expected [N,C,d1,...] and [N,d1,...]");
  e.code = Code::shape_mismatch;
  return e;
}

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  PLANISH_TRY(check_shapes(ctx, ctx.shape(0), ctx.shape(1)));
  const bool none = ctx.node().attr_string("reduction", "mean") == "none";
  ctx.set(0, ctx.dtype(0), none ? ctx.shape(1) : Shape{});
  ctx.set(1, ctx.dtype(0), ctx.shape(0));
  return {};
}

/// Scores as they are, or their log-softmax over the classes.
std::vector<double> log_probabilities(const Tensor& scores, bool normalise) {
  std::vector<double> p(static_cast<size_t>(scores.size()));
  load_elements(scores.dtype(), scores.raw(), 0, 1, scores.size(), p.data());
  if (!normalise) return p;
  const AxisView view = axis_view(scores.shape(), 1);
  const auto step = static_cast<size_t>(view.inner);
  for (int64_t o = 0; o < view.outer; ++o)
    for (int64_t i = 0; i < view.inner; ++i) {
      const auto first = static_cast<size_t>(o * view.length * view.inner + i);
      const size_t end = first + static_cast<size_t>(view.length) * step;
      double max = -HUGE_VAL;
      for (size_t k = first; k < end; k += step) max = std::max(max, p[k]);
      double sum = 0;
      for (size_t k = first; k < end; k += step) sum += std::exp(p[k] - max);
      for (size_t k = first; k < end; k += step) p[k] -= max + std::log(sum);
    }
  return p;
}

/// Loss of every sample, and the sum of the weights that took part.
struct Losses {
  std::vector<double> values;
  double weight = 0;
};

Result<Losses> sample_losses(const RefContext& ctx, const std::vector<double>& log_p) {
  const Tensor& labels = ctx.in(1);
  const AxisView view = axis_view(ctx.in(0).shape(), 1);
  const bool ignores = ctx.node().has_attr("ignore_index");
  const int64_t ignored = ctx.node().attr_int("ignore_index", 0);
  Losses out;
  out.values.resize(static_cast<size_t>(labels.size()));
  for (int64_t s = 0; s < labels.size(); ++s) {
    const int64_t c = labels.int_at(s);
    if (ignores && c == ignored) continue;
    if (c < 0 || c >= view.length)
      return ctx.error("label " + std::to_string(c) + " is outside the " + std::to_string(view.length) + " classes",
                       "check the labels, or set ignore_index");
    const double weight = ctx.has(2) ? ctx.in(2).at(c) : 1.0;
    const int64_t at = (s / view.inner * view.length + c) * view.inner + s % view.inner;
    out.values[static_cast<size_t>(s)] = -log_p[static_cast<size_t>(at)] * weight;
    out.weight += weight;
  }
  return out;
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  const Tensor& scores = ctx.in(0);
  PLANISH_TRY(check_shapes(ctx, scores.shape(), ctx.in(1).shape()));
  if (ctx.has(2) && ctx.in(2).shape() != Shape{scores.dim(1)})
    return ctx.error("weights have shape " + to_string(ctx.in(2).shape()) + ", expected one per class");
  const auto log_p = log_probabilities(scores, is_cross_entropy(ctx.node()));
  const Losses losses = PLANISH_TRY(sample_losses(ctx, log_p));
  const std::string reduction = ctx.node().attr_string("reduction", "mean");
  if (reduction == "none") {
    Tensor* y = PLANISH_TRY(ctx.output(0, scores.dtype(), ctx.in(1).shape()));
    store_elements(y->dtype(), y->raw(), 0, 1, y->size(), losses.values.data());
  } else {
    double sum = 0;
    for (const double v : losses.values) sum += v;
    PLANISH_TRY(ctx.output(0, scores.dtype(), {}))->set(0, reduction == "sum" ? sum : sum / losses.weight);
  }
  if (!is_cross_entropy(ctx.node()) || ctx.num_outputs() < 2 || !ctx.wants(1)) return {};
  Tensor* log_prob = PLANISH_TRY(ctx.output(1, scores.dtype(), scores.shape()));
  store_elements(log_prob->dtype(), log_prob->raw(), 0, 1, log_prob->size(), log_p.data());
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "NegativeLogLikelihoodLoss", .since = 12, .infer = infer, .reference = reference},
    OpDecl{.name = "SoftmaxCrossEntropyLoss", .since = 12, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> loss_ops() { return kOps; }

}  // namespace planish
