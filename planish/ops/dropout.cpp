// Dropout: identity at inference; in training mode elements vanish with probability `ratio` and the rest is scaled.
// Floating-point types. https://onnx.ai/onnx/operators/onnx__Dropout.html

#include <array>
#include <cstring>
#include <random>

#include "planish/ops/checks.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  ctx.set(0, ctx.dtype(0), ctx.shape(0));
  ctx.set(1, DType::boolean, ctx.shape(0));
  return {};
}

/// Uniform in [0, 1) with 53 random bits from two draws: the scheme of numpy's RandomState, so that a seed drops the
/// elements that ONNX's reference drops.
double uniform(std::mt19937& generator) {
  const uint32_t high = static_cast<uint32_t>(generator()) >> 5;
  const uint32_t low = static_cast<uint32_t>(generator()) >> 6;
  return (high * 67108864.0 + low) / 9007199254740992.0;
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  if ((ctx.has(1) && ctx.in(1).size() != 1) || (ctx.has(2) && ctx.in(2).size() != 1))
    return ctx.error("ratio and training_mode must be single values");
  const double ratio = ctx.has(1) ? ctx.in(1).at(0) : 0.5;
  const bool training = ctx.has(2) && ctx.in(2).at(0) != 0 && ratio != 0;
  if (training && !(ratio > 0 && ratio < 1)) return ctx.error("ratio must be in [0, 1)");
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), x.shape()));
  Tensor* mask = nullptr;
  if (ctx.num_outputs() > 1) mask = PLANISH_TRY(ctx.output(1, DType::boolean, x.shape()));
  if (!training) {
    if (x.bytes() != 0 && y->raw() != x.raw()) std::memcpy(y->raw(), x.raw(), x.bytes());
    if (mask != nullptr && mask->bytes() != 0) std::memset(mask->raw(), 1, mask->bytes());
    return {};
  }
  const bool seeded = ctx.node().has_attr("seed");
  std::mt19937 generator(seeded ? static_cast<uint32_t>(ctx.node().attr_int("seed", 0)) : std::random_device{}());
  for (int64_t i = 0; i < x.size(); ++i) {
    const bool kept = uniform(generator) >= ratio;
    y->set(i, kept ? x.at(i) / (1 - ratio) : 0.0);
    if (mask != nullptr) mask->data<bool>()[i] = kept;
  }
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "Dropout", .since = 1, .traits = kTraitRandom, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> dropout_ops() { return kOps; }

}  // namespace planish
