// RandomNormal, RandomUniform and their Like forms, Bernoulli and Multinomial. Without a seed attribute the stream is
// the same in every run, so that results can be reproduced.
// https://onnx.ai/onnx/operators/ (Bernoulli, Multinomial, RandomNormal, RandomNormalLike, ...)

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numbers>
#include <random>
#include <vector>

#include "planish/ops/checks.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

/// Random reals. The standard fixes the bits of mt19937_64 but not its distributions, hence our own.
class Stream {
 public:
  explicit Stream(const Node& node)
      : generator_(node.has_attr("seed") ? std::bit_cast<uint32_t>(node.attr_float("seed", 0.0F)) : kDefaultSeed) {}

  /// In [0, 1), 53 random bits.
  double uniform() { return static_cast<double>(generator_() >> 11) * 0x1p-53; }
  /// Mean 0, standard deviation 1. Source: Box and Muller, 1958.
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(2.0 * std::numbers::pi * uniform());
  }

 private:
  static constexpr uint64_t kDefaultSeed = 0x9e3779b97f4a7c15U;
  std::mt19937_64 generator_;
};

bool is_like(const Node& node) { return node.op.ends_with("Like"); }

Status infer_fill(InferContext& ctx) {
  if (is_like(ctx.node())) {
    PLANISH_TRY(require_inputs(ctx, 1));
    const DType type = PLANISH_TRY(dtype_attr(ctx, "dtype", ctx.dtype(0)));
    ctx.set(0, type, ctx.shape(0));
    return {};
  }
  const DType type = PLANISH_TRY(dtype_attr(ctx, "dtype", DType::f32));
  ctx.set(0, type, ctx.node().attr_ints("shape"));
  return {};
}

Status reference_fill(RefContext& ctx) {
  const Node& node = ctx.node();
  if (is_like(node)) PLANISH_TRY(require_inputs(ctx, 1));
  const DType fallback = is_like(node) ? ctx.in(0).dtype() : DType::f32;
  const DType type = PLANISH_TRY(dtype_attr(ctx, "dtype", fallback));
  if (!dtype_is_float(type)) return ctx.error("cannot make values of type " + std::string(dtype_name(type)));
  Tensor* y = PLANISH_TRY(ctx.output(0, type, is_like(node) ? ctx.in(0).shape() : node.attr_ints("shape")));
  Stream stream(node);
  const bool normal = node.op.starts_with("RandomNormal");
  const double low = normal ? node.attr_float("mean", 0.0F) : node.attr_float("low", 0.0F);
  const double width = normal ? node.attr_float("scale", 1.0F) : node.attr_float("high", 1.0F) - low;
  for (int64_t i = 0, n = y->size(); i < n; ++i) y->set(i, low + width * (normal ? stream.normal() : stream.uniform()));
  return {};
}

Status infer_bernoulli(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const DType type = PLANISH_TRY(dtype_attr(ctx, "dtype", ctx.dtype(0)));
  ctx.set(0, type, ctx.shape(0));
  return {};
}

Status reference_bernoulli(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  const DType type = PLANISH_TRY(dtype_attr(ctx, "dtype", x.dtype()));
  Tensor* y = PLANISH_TRY(ctx.output(0, type, x.shape()));
  Stream stream(ctx.node());
  for (int64_t i = 0, n = x.size(); i < n; ++i) y->set(i, stream.uniform() < x.at(i) ? 1.0 : 0.0);
  return {};
}

Status infer_multinomial(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const DType type = PLANISH_TRY(dtype_attr(ctx, "dtype", DType::i32));
  if (ctx.rank(0) != 2) return ctx.error("input has shape " + to_string(ctx.shape(0)) + ", expected [batch, classes]");
  ctx.set(0, type, Shape{ctx.shape(0)[0], ctx.node().attr_int("sample_size", 1)});
  return {};
}

/// Running sums of exp(logit - max): a draw is the first class whose sum exceeds uniform() * total.
std::vector<double> cumulated_weights(const Tensor& logits, int64_t row) {
  const int64_t classes = logits.dim(1);
  double max = -HUGE_VAL;
  for (int64_t c = 0; c < classes; ++c) max = std::max(max, logits.at(row * classes + c));
  std::vector<double> sums;
  double sum = 0;
  for (int64_t c = 0; c < classes; ++c) sums.push_back(sum += std::exp(logits.at(row * classes + c) - max));
  return sums;
}

Status reference_multinomial(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  const DType type = PLANISH_TRY(dtype_attr(ctx, "dtype", DType::i32));
  if (x.rank() != 2 || x.dim(1) == 0)
    return ctx.error("input has shape " + to_string(x.shape()) + ", expected [batch, classes]");
  const int64_t samples = ctx.node().attr_int("sample_size", 1);
  Tensor* y = PLANISH_TRY(ctx.output(0, type, {x.dim(0), samples}));
  Stream stream(ctx.node());
  for (int64_t row = 0; row < x.dim(0); ++row) {
    const auto sums = cumulated_weights(x, row);
    for (int64_t s = 0; s < samples; ++s) {
      const auto at = std::ranges::upper_bound(sums, stream.uniform() * sums.back()) - sums.begin();
      y->set(row * samples + s, static_cast<double>(std::min<int64_t>(at, x.dim(1) - 1)));
    }
  }
  return {};
}

constexpr OpDecl row(std::string_view name, int since, Status (*infer)(InferContext&),
                     Status (*reference)(RefContext&)) {
  return {.name = name, .since = since, .traits = kTraitRandom, .infer = infer, .reference = reference};
}

constexpr std::array kOps{
    row("Bernoulli", 15, infer_bernoulli, reference_bernoulli),
    row("Multinomial", 7, infer_multinomial, reference_multinomial),
    row("RandomNormal", 1, infer_fill, reference_fill),
    row("RandomNormalLike", 1, infer_fill, reference_fill),
    row("RandomUniform", 1, infer_fill, reference_fill),
    row("RandomUniformLike", 1, infer_fill, reference_fill),
};

}  // namespace

std::span<const OpDecl> random_ops() { return kOps; }

}  // namespace planish
