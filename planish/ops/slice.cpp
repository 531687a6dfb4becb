// Slice: numpy-style start:end:step along chosen axes. Any type.
// https://onnx.ai/onnx/operators/onnx__Slice.html

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "planish/ops/checks.h"
#include "planish/ops/elements.h"
#include "planish/ops/registry.h"
#include "planish/ops/strided_copy.h"

namespace planish {
namespace {

/// One axis of the slice, clamped to a known dimension.
struct Cut {
  int64_t start;
  int64_t step;
  int64_t length;
};

Cut clamp_cut(int64_t start, int64_t end, int64_t step, int64_t dim) {
  const auto from_front = [dim](int64_t i) { return i < 0 ? std::max(i, -dim - 1) + dim : i; };
  if (dim == 0) return {0, step, 0};
  if (step > 0) {
    const int64_t s = std::clamp<int64_t>(from_front(start), 0, dim);
    const int64_t e = std::clamp<int64_t>(from_front(end), 0, dim);
    return {s, step, e > s ? (e - s - 1) / step + 1 : 0};
  }
  const int64_t s = std::clamp<int64_t>(from_front(start), -1, dim - 1);
  const int64_t e = std::clamp<int64_t>(from_front(end), -1, dim - 1);
  // INT64_MIN has no negation; any step beyond the dimension takes one element.
  const int64_t stride = std::max(step, -dim);
  return {std::max<int64_t>(s, 0), stride, s > e ? (s - e - 1) / -stride + 1 : 0};
}

struct SliceArguments {
  std::vector<int64_t> starts, ends, axes, steps;
};

template <typename Ctx>
Result<SliceArguments> arguments(const Ctx& ctx, int64_t rank, std::vector<int64_t> starts, std::vector<int64_t> ends,
                                 std::optional<std::vector<int64_t>> axes, std::optional<std::vector<int64_t>> steps) {
  if (!axes) {
    axes.emplace();
    for (size_t i = 0; i < starts.size(); ++i) axes->push_back(static_cast<int64_t>(i));
  }
  if (!steps) steps = std::vector<int64_t>(starts.size(), 1);
  const auto normal = normalise_axes(*axes, rank);
  if (!normal || ends.size() != starts.size() || normal->size() != starts.size() || steps->size() != starts.size())
    return ctx.error(fmt::format("starts {}, ends {}, axes {} and steps {} do not fit together for rank {}",
                                 to_string(starts), to_string(ends), to_string(*axes), to_string(*steps), rank));
  if (std::ranges::find(*steps, 0) != steps->end()) return ctx.error("a step is 0");
  return SliceArguments{std::move(starts), std::move(ends), *normal, std::move(*steps)};
}

/// Length of start:end:step in a dimension of unknown length, where the bounds alone decide it.
int64_t length_without_dim(int64_t start, int64_t end, int64_t step) {
  // 0:k of an unknown dimension may be shorter than k, and -k: too; only an empty range is certain.
  const bool same_side = (start < 0) == (end < 0);
  if (same_side && (step > 0 ? end <= start : end >= start)) return 0;
  return kUnknownDim;
}

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  Shape out = ctx.shape(0);
  const auto starts = ctx.ints(1);
  const auto ends = ctx.ints(2);
  const auto axes = ctx.ints(3);
  const auto steps = ctx.ints(4);
  if (!starts || !ends || (ctx.has(3) && !axes) || (ctx.has(4) && !steps)) {
    // Axes that are not named stay as they are; without known axes any dimension may change.
    if (axes) {
      const auto normal = normalise_axes(*axes, ctx.rank(0));
      if (!normal) return ctx.error(fmt::format("axes {} do not fit {}", to_string(*axes), to_string(out)));
      for (const int64_t a : *normal) out[static_cast<size_t>(a)] = kUnknownDim;
    } else {
      std::ranges::fill(out, kUnknownDim);
    }
    ctx.set(0, ctx.dtype(0), out);
    return {};
  }
  const SliceArguments args = PLANISH_TRY(arguments(ctx, ctx.rank(0), *starts, *ends, axes, steps));
  for (size_t i = 0; i < args.axes.size(); ++i) {
    int64_t& d = out[static_cast<size_t>(args.axes[i])];
    const bool whole = args.starts[i] == 0 && args.ends[i] >= INT32_MAX && args.steps[i] == 1;
    if (d >= 0)
      d = clamp_cut(args.starts[i], args.ends[i], args.steps[i], d).length;
    else if (!whole)
      d = length_without_dim(args.starts[i], args.ends[i], args.steps[i]);
  }
  ctx.set(0, ctx.dtype(0), out);
  return {};
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  const Tensor& x = ctx.in(0);
  std::optional<std::vector<int64_t>> axes;
  std::optional<std::vector<int64_t>> steps;
  if (ctx.has(3)) axes = ctx.in(3).to_i64();
  if (ctx.has(4)) steps = ctx.in(4).to_i64();
  const SliceArguments args =
      PLANISH_TRY(arguments(ctx, x.rank(), ctx.in(1).to_i64(), ctx.in(2).to_i64(), std::move(axes), std::move(steps)));
  Shape shape = x.shape();
  auto strides = row_major_strides(x.shape());
  int64_t offset = 0;
  for (size_t i = 0; i < args.axes.size(); ++i) {
    const auto a = static_cast<size_t>(args.axes[i]);
    const Cut cut = clamp_cut(args.starts[i], args.ends[i], args.steps[i], shape[a]);
    if (cut.length > 0) offset += cut.start * strides[a];
    shape[a] = cut.length;
    if (cut.length > 1) strides[a] *= cut.step;
  }
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), shape));
  const ElementReader in(x);
  ElementWriter out(*y);
  if (y->size() != 0)
    strided_copy(in.width(), shape, in.data() + offset * in.width(), strides, out.data(), row_major_strides(shape));
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "Slice", .since = 1, .shape_inputs = 0b11110, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> slice_ops() { return kOps; }

}  // namespace planish
