// NonZero, Compress, Unique: outputs whose length depends on the data. Real types (Compress: any).
// https://onnx.ai/onnx/operators/onnx__NonZero.html (and Compress, Unique)

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

Status infer_non_zero(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  ctx.set(0, DType::i64, Shape{ctx.rank(0), kUnknownDim});
  return {};
}

template <typename T>
std::vector<int64_t> non_zero_elements(std::span<const T> x) {
  std::vector<int64_t> found;
  for (size_t i = 0; i < x.size(); ++i)
    if (x[i] != T{}) found.push_back(static_cast<int64_t>(i));
  return found;
}

std::vector<int64_t> non_zero_elements(const Tensor& x) {
  switch (x.dtype()) {
    case DType::f32: return non_zero_elements(x.span<float>());
    case DType::i64: return non_zero_elements(x.span<int64_t>());
    case DType::i32: return non_zero_elements(x.span<int32_t>());
    case DType::boolean: return non_zero_elements(std::span(static_cast<const uint8_t*>(x.raw()), x.bytes()));
    default: break;
  }
  std::vector<int64_t> found;
  for (int64_t i = 0; i < x.size(); ++i)
    if (x.at(i) != 0) found.push_back(i);
  return found;
}

Status non_zero(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  const std::vector<int64_t> found = non_zero_elements(x);
  const auto count = static_cast<int64_t>(found.size());
  Tensor* y = PLANISH_TRY(ctx.output(0, DType::i64, Shape{x.rank(), count}));
  auto* out = y->data<int64_t>();
  const int64_t last = x.rank() == 0 ? 1 : x.dim(-1);
  std::vector<int64_t> position(static_cast<size_t>(x.rank()), 0);
  int64_t row = 0;  // that `position` is in: most neighbours share one
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = found[static_cast<size_t>(i)];
    if (at < row || at >= row + last) {
      int64_t rest = at / last;
      row = rest * last;
      for (int64_t d = x.rank() - 1; d-- > 0; rest /= x.dim(d)) position[static_cast<size_t>(d)] = rest % x.dim(d);
    }
    for (int64_t d = 0; d + 1 < x.rank(); ++d) out[d * count + i] = position[static_cast<size_t>(d)];
    if (x.rank() > 0) out[(x.rank() - 1) * count + i] = at - row;
  }
  return {};
}

/// A tensor seen as [outer, dim, inner] around an axis, or as a flat list when there is no axis.
struct AxisView {
  int64_t outer;
  int64_t dim;
  int64_t inner;
};

template <typename Ctx>
Result<std::optional<int64_t>> optional_axis(const Ctx& ctx, int64_t rank) {
  if (!ctx.node().has_attr("axis")) return std::optional<int64_t>();
  return std::optional(PLANISH_TRY(normalize_axis(ctx, ctx.node().attr_int("axis", 0), rank)));
}

AxisView view_of(const Tensor& x, std::optional<int64_t> axis) {
  if (!axis) return {1, x.size(), 1};
  return {product(x.shape(), 0, *axis), x.dim(*axis), product(x.shape(), *axis + 1, x.rank())};
}

/// Shape of x with `count` entries along the axis, or [count] without one.
Shape picked_shape(const Shape& x, std::optional<int64_t> axis, int64_t count) {
  if (!axis) return {count};
  Shape out = x;
  out[static_cast<size_t>(*axis)] = count;
  return out;
}

/// Output 0 = the listed entries along the axis.
Status pick(RefContext& ctx, std::optional<int64_t> axis, std::span<const int64_t> entries) {
  const Tensor& x = ctx.in(0);
  Tensor* y =
      PLANISH_TRY(ctx.output(0, x.dtype(), picked_shape(x.shape(), axis, static_cast<int64_t>(entries.size()))));
  const AxisView view = view_of(x, axis);
  const ElementReader in(x);
  ElementWriter out(*y);
  const int64_t block = view.inner * in.width();
  if (y->size() == 0) return {};
  std::byte* to = out.data();
  for (int64_t o = 0; o < view.outer; ++o) {
    for (const int64_t e : entries) {
      std::memcpy(to, in.data() + (o * view.dim + e) * block, static_cast<size_t>(block));
      to += block;
    }
  }
  return {};
}

Status infer_compress(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  const auto axis = PLANISH_TRY(optional_axis(ctx, ctx.rank(0)));
  ctx.set(0, ctx.dtype(0), picked_shape(ctx.shape(0), axis, kUnknownDim));
  return {};
}

Status compress(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  const auto axis = PLANISH_TRY(optional_axis(ctx, ctx.in(0).rank()));
  const AxisView view = view_of(ctx.in(0), axis);
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < std::min(view.dim, ctx.in(1).size()); ++i)
    if (ctx.in(1).at(i) != 0) kept.push_back(i);
  return pick(ctx, axis, kept);
}

Status infer_unique(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const auto axis = PLANISH_TRY(optional_axis(ctx, ctx.rank(0)));
  const int64_t entries = axis ? ctx.shape(0)[static_cast<size_t>(*axis)] : element_count(ctx.shape(0));
  ctx.set(0, ctx.dtype(0), picked_shape(ctx.shape(0), axis, kUnknownDim));
  ctx.set(1, DType::i64, Shape{kUnknownDim});
  ctx.set(2, DType::i64, Shape{entries});
  ctx.set(3, DType::i64, Shape{kUnknownDim});
  return {};
}

/// Groups of equal entries: first[g] is where group g appears first, group[e] the group of entry e.
struct Groups {
  std::vector<int64_t> first;
  std::vector<int64_t> group;
  std::vector<int64_t> count;
};

Groups group_equal(const Tensor& x, const AxisView& view, bool sorted) {
  const std::vector<uint64_t> keys = ordered_keys(x);
  const auto compare = [&](int64_t a, int64_t b) {
    for (int64_t o = 0; o < view.outer; ++o) {
      const auto p = keys.begin() + (o * view.dim + a) * view.inner;
      const auto q = keys.begin() + (o * view.dim + b) * view.inner;
      const auto [i, j] = std::mismatch(p, p + view.inner, q);
      if (i != p + view.inner) return *i < *j ? -1 : 1;
    }
    return 0;
  };
  std::vector<int64_t> order(static_cast<size_t>(view.dim));
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](int64_t a, int64_t b) { return compare(a, b) < 0; });
  Groups out;
  out.group.resize(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    if (i == 0 || compare(order[i - 1], order[i]) != 0) {
      out.first.push_back(order[i]);
      out.count.push_back(0);
    }
    out.group[static_cast<size_t>(order[i])] = static_cast<int64_t>(out.first.size()) - 1;
    ++out.count.back();
  }
  if (sorted) return out;
  // Groups in the order in which their first entries appear.
  std::vector<int64_t> by_first(out.first.size());
  std::iota(by_first.begin(), by_first.end(), 0);
  std::ranges::sort(by_first, {}, [&](int64_t g) { return out.first[static_cast<size_t>(g)]; });
  Groups renamed{.first = {}, .group = out.group, .count = {}};
  std::vector<int64_t> new_name(by_first.size());
  for (size_t i = 0; i < by_first.size(); ++i) {
    const auto g = static_cast<size_t>(by_first[i]);
    new_name[g] = static_cast<int64_t>(i);
    renamed.first.push_back(out.first[g]);
    renamed.count.push_back(out.count[g]);
  }
  for (int64_t& g : renamed.group) g = new_name[static_cast<size_t>(g)];
  return renamed;
}

Status write_list(RefContext& ctx, size_t output, std::span<const int64_t> values) {
  if (output >= ctx.num_outputs()) return {};
  Tensor* y = PLANISH_TRY(ctx.output(output, DType::i64, Shape{static_cast<int64_t>(values.size())}));
  std::ranges::copy(values, y->data<int64_t>());
  return {};
}

Status unique(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  PLANISH_TRY(require_real(ctx));
  const auto axis = PLANISH_TRY(optional_axis(ctx, ctx.in(0).rank()));
  const Groups groups = group_equal(ctx.in(0), view_of(ctx.in(0), axis), ctx.node().attr_int("sorted", 1) != 0);
  PLANISH_TRY(pick(ctx, axis, groups.first));
  PLANISH_TRY(write_list(ctx, 1, groups.first));
  PLANISH_TRY(write_list(ctx, 2, groups.group));
  return write_list(ctx, 3, groups.count);
}

constexpr std::array kOps{
    OpDecl{
        .name = "Compress", .since = 9, .traits = kTraitDynamicShape, .infer = infer_compress, .reference = compress},
    OpDecl{.name = "NonZero", .since = 9, .traits = kTraitDynamicShape, .infer = infer_non_zero, .reference = non_zero},
    OpDecl{.name = "Unique", .since = 11, .traits = kTraitDynamicShape, .infer = infer_unique, .reference = unique},
};

}  // namespace

std::span<const OpDecl> select_ops() { return kOps; }

}  // namespace planish
