// RotaryEmbedding: rotates pairs of features by an angle that depends on the token's position.
// https://onnx.ai/onnx/operators/onnx__RotaryEmbedding.html

#include <array>

#include "planish/ops/checks.h"
#include "planish/ops/float_view.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  ctx.set(0, ctx.dtype(0), ctx.shape(0));
  return {};
}

struct RotaryShape {
  int64_t batch = 0;
  int64_t heads = 0;
  int64_t length = 0;
  int64_t head = 0;  ///< features per head
  int64_t half = 0;  ///< rotated pairs per head
};

Result<RotaryShape> resolve(const RefContext& ctx) {
  const Shape& x = ctx.in(0).shape();
  RotaryShape s;
  if (x.size() == 4) {
    s = {x[0], x[1], x[2], x[3]};
  } else if (x.size() == 3) {
    s = {x[0], ctx.node().attr_int("num_heads", 0), x[1]};
    if (s.heads < 1 || x[2] % s.heads != 0)
      return ctx.error("a 3-D input needs num_heads that divides its hidden size");
    s.head = x[2] / s.heads;
  } else {
    return ctx.error("the input must have rank 3 or 4, it is " + to_string(x));
  }
  int64_t rotated = ctx.node().attr_int("rotary_embedding_dim", 0);
  if (rotated == 0) rotated = s.head;
  if (rotated < 0 || rotated > s.head || rotated % 2 != 0)
    return ctx.error("cannot rotate " + std::to_string(rotated) + " of " + std::to_string(s.head) + " features");
  s.half = rotated / 2;
  const Shape& cache = ctx.in(1).shape();
  const bool indexed = ctx.has(3);
  const bool fits = indexed ? cache.size() == 2 && cache[1] == s.half : cache == Shape{s.batch, s.length, s.half};
  if (!fits || ctx.in(2).shape() != cache)
    return ctx.error("the cosine and sine tables have shapes " + to_string(cache) + " and " +
                     to_string(ctx.in(2).shape()));
  if (indexed) {
    if (ctx.in(3).shape() != Shape{s.batch, s.length})
      return ctx.error("position_ids must have shape " + to_string(Shape{s.batch, s.length}));
    for (const int64_t p : ctx.in(3).to_i64())
      if (p < 0 || p >= cache[0]) return ctx.error("position " + std::to_string(p) + " is outside the tables");
  }
  return s;
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  PLANISH_TRY(require_real(ctx));
  const RotaryShape s = PLANISH_TRY(resolve(ctx));
  const Tensor& x = ctx.in(0);
  const bool packed = x.rank() == 3;
  const bool interleaved = ctx.node().attr_int("interleaved", 0) != 0;
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), x.shape()));
  return in_float_arithmetic(x.dtype(), [&](auto zero) -> Status {
    using T = decltype(zero);
    const FloatInput<T> in(x);
    const FloatInput<T> cosine(ctx.in(1));
    const FloatInput<T> sine(ctx.in(2));
    FloatOutput<T> out(*y);
    for (int64_t b = 0; b < s.batch; ++b)
      for (int64_t t = 0; t < s.length; ++t) {
        const int64_t token = b * s.length + t;
        const int64_t angles = (ctx.has(3) ? ctx.in(3).int_at(token) : token) * s.half;
        for (int64_t h = 0; h < s.heads; ++h) {
          const int64_t at = (packed ? token * s.heads + h : (b * s.heads + h) * s.length + t) * s.head;
          for (int64_t i = 2 * s.half; i < s.head; ++i) out[at + i] = in[at + i];
          for (int64_t i = 0; i < s.half; ++i) {
            const int64_t first = at + (interleaved ? 2 * i : i);
            const int64_t second = first + (interleaved ? 1 : s.half);
            const T c = cosine[angles + i];
            const T d = sine[angles + i];
            const T a = in[first];
            const T e = in[second];
            out[first] = c * a - d * e;
            out[second] = d * a + c * e;
          }
        }
      }
    out.finish();
    return {};
  });
}

constexpr std::array kOps{
    OpDecl{.name = "RotaryEmbedding", .since = 23, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> rotary_embedding_ops() { return kOps; }

}  // namespace planish
