// TopK: the K largest or smallest elements along an axis and their indices; ties go to the smaller index, NaN counts as
// the largest value. Real types. https://onnx.ai/onnx/operators/onnx__TopK.html

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "planish/ops/checks.h"
#include "planish/ops/elements.h"
#include "planish/ops/ordered_values.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

template <typename Ctx>
Result<Shape> output_shape(const Ctx& ctx, const Shape& in, int64_t axis, std::span<const int64_t> k) {
  Shape out = in;
  int64_t& d = out[static_cast<size_t>(axis)];
  if (k.size() != 1 || k[0] < 0 || (d >= 0 && k[0] > d))
    return ctx.error(fmt::format("k {} does not fit axis {} of {}", to_string(k), axis, to_string(in)));
  d = k[0];
  return out;
}

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  const int64_t axis = PLANISH_TRY(normalize_axis(ctx, ctx.node().attr_int("axis", -1), ctx.rank(0)));
  Shape out = ctx.shape(0);
  out[static_cast<size_t>(axis)] = kUnknownDim;
  if (const auto k = ctx.ints(1)) out = PLANISH_TRY(output_shape(ctx, ctx.shape(0), axis, *k));
  ctx.set(0, ctx.dtype(0), out);
  ctx.set(1, DType::i64, out);
  return {};
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  const int64_t axis = PLANISH_TRY(normalize_axis(ctx, ctx.node().attr_int("axis", -1), x.rank()));
  const bool largest = ctx.node().attr_int("largest", 1) != 0;
  const Shape shape = PLANISH_TRY(output_shape(ctx, x.shape(), axis, ctx.in(1).to_i64()));
  Tensor* values = PLANISH_TRY(ctx.output(0, x.dtype(), shape));
  Tensor* indices = nullptr;
  if (ctx.num_outputs() > 1) indices = PLANISH_TRY(ctx.output(1, DType::i64, shape));
  if (values->size() == 0) return {};
  std::vector<uint64_t> keys = ordered_keys(x);
  if (largest)
    for (uint64_t& key : keys) key = ~key;
  const int64_t dim = x.dim(axis);
  const int64_t k = shape[static_cast<size_t>(axis)];
  const int64_t inner = product(x.shape(), axis + 1, x.rank());
  const ElementReader in(x);
  ElementWriter out(*values);
  const auto width = static_cast<size_t>(in.width());
  std::vector<int64_t> order(static_cast<size_t>(dim));
  for (int64_t row = 0; row < x.size() / dim; ++row) {
    const int64_t base = row / inner * dim * inner + row % inner;
    const auto before = [&](int64_t a, int64_t b) {
      const uint64_t p = keys[static_cast<size_t>(base + a * inner)];
      const uint64_t q = keys[static_cast<size_t>(base + b * inner)];
      return p != q ? p < q : a < b;
    };
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + k, order.end(), before);
    for (int64_t i = 0; i < k; ++i) {
      const int64_t from = order[static_cast<size_t>(i)];
      const int64_t to = (row / inner * k + i) * inner + row % inner;
      std::memcpy(out.data() + static_cast<size_t>(to) * width,
                  in.data() + static_cast<size_t>(base + from * inner) * width, width);
      if (indices != nullptr) indices->data<int64_t>()[to] = from;
    }
  }
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "TopK", .since = 1, .shape_inputs = 1U << 1, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> top_k_ops() { return kOps; }

}  // namespace planish
