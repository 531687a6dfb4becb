// planish.MergedAttention: attention over queries, keys and values that lie side by side in one tensor, as the merged
// projection leaves them: Attention (packed heads, no cache) behind a Split of the last axis, without the Split.
//
//   X [B, S, (q_num_heads + 2 * kv_num_heads) * D], mask? -> Y [B, S, q_num_heads * D]
//
// Attributes: those of Attention.

#include <algorithm>
#include <array>

#include "planish/ops/checks.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

struct Parts {
  int64_t q_heads = 0;
  int64_t kv_heads = 0;
  int64_t head = 0;  ///< size of a head; unknown (-1) when the width is
};

template <typename Context>
Result<Parts> parts_of(const Context& ctx, const Shape& x) {
  Parts p{ctx.node().attr_int("q_num_heads", 0), ctx.node().attr_int("kv_num_heads", 0), -1};
  if (x.size() != 3) return ctx.error("X has shape " + to_string(x) + "; it must have rank 3");
  if (p.q_heads < 1 || p.kv_heads < 1) return ctx.error("q_num_heads and kv_num_heads are needed");
  constexpr int64_t kMaxHeads = 1 << 20;
  if (p.q_heads > kMaxHeads || p.kv_heads > kMaxHeads) return ctx.error("there are too many heads");
  const int64_t heads = p.q_heads + 2 * p.kv_heads;
  if (x[2] < 0) return p;
  if (x[2] % heads != 0)
    return ctx.error("the width " + std::to_string(x[2]) + " does not divide into " + std::to_string(heads) + " heads");
  p.head = x[2] / heads;
  return p;
}

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const Shape& x = ctx.shape(0);
  const Parts p = PLANISH_TRY(parts_of(ctx, x));
  ctx.set(0, ctx.dtype(0), Shape{x[0], x[1], p.head < 0 ? kUnknownDim : p.q_heads * p.head});
  return {};
}

/// Columns [first, first + count) of every row.
Tensor columns(const Tensor& x, int64_t first, int64_t count) {
  Tensor out(x.dtype(), {x.dim(0), x.dim(1), count});
  const auto size = static_cast<size_t>(dtype_bytes(x.dtype(), 1));
  const auto* from = static_cast<const std::byte*>(x.raw()) + static_cast<size_t>(first) * size;
  auto* to = static_cast<std::byte*>(out.raw());
  const auto bytes = static_cast<size_t>(count) * size;
  for (int64_t r = 0; r < x.dim(0) * x.dim(1); ++r, to += bytes, from += static_cast<size_t>(x.dim(2)) * size)
    std::copy_n(from, bytes, to);
  return out;
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  const Parts p = PLANISH_TRY(parts_of(ctx, x.shape()));
  const int64_t q = p.q_heads * p.head;
  const int64_t kv = p.kv_heads * p.head;
  const std::array<Tensor, 3> parts{columns(x, 0, q), columns(x, q, kv), columns(x, q + kv, kv)};
  Node attention = ctx.node();
  attention.op = "Attention";
  attention.domain.clear();
  attention.outputs.resize(1);
  attention.inputs = {0, 1, 2};
  std::vector<const Tensor*> inputs{&parts[0], &parts[1], &parts[2]};
  if (ctx.has(1)) {
    attention.inputs.push_back(3);
    inputs.push_back(&ctx.in(1));
  }
  std::array<Tensor, 1> out;
  PLANISH_TRY(run_reference(attention, inputs, out));
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), out[0].shape()));
  std::copy_n(static_cast<const std::byte*>(out[0].raw()), out[0].bytes(), static_cast<std::byte*>(y->raw()));
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "MergedAttention", .domain = "planish", .since = 1, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> merged_attention_ops() { return kOps; }

}  // namespace planish
