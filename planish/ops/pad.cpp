// Pad: constant, reflect, edge and wrap borders (numpy.pad), negative pads crop. Any type.
// https://onnx.ai/onnx/operators/onnx__Pad.html

#include <fmt/format.h>

#include <array>
#include <numeric>

#include "planish/ops/checks.h"
#include "planish/ops/elements.h"
#include "planish/ops/registry.h"
#include "planish/ops/strided_copy.h"

namespace planish {
namespace {

/// Elements added in front of and behind each dimension.
struct Pads {
  std::vector<int64_t> before;
  std::vector<int64_t> after;
};

template <typename Ctx>
Result<Pads> pads_of(const Ctx& ctx, int64_t rank, const std::vector<int64_t>& pads,
                     std::optional<std::vector<int64_t>> axes) {
  if (!axes) {
    axes.emplace(static_cast<size_t>(rank));
    std::iota(axes->begin(), axes->end(), 0);
  }
  const auto normal = normalise_axes(*axes, rank);
  if (!normal || pads.size() != 2 * normal->size())
    return ctx.error(fmt::format("pads {} and axes {} do not fit rank {}", to_string(pads), to_string(*axes), rank));
  Pads out{std::vector<int64_t>(static_cast<size_t>(rank)), std::vector<int64_t>(static_cast<size_t>(rank))};
  for (size_t i = 0; i < normal->size(); ++i) {
    out.before[static_cast<size_t>((*normal)[i])] = pads[i];
    out.after[static_cast<size_t>((*normal)[i])] = pads[i + normal->size()];
  }
  return out;
}

template <typename Ctx>
Result<Shape> padded(const Ctx& ctx, const Shape& in, const Pads& pads) {
  constexpr int64_t kLimit = int64_t{1} << 40;  // far above any tensor, far below overflow
  Shape out = in;
  for (size_t i = 0; i < in.size(); ++i) {
    if (std::abs(pads.before[i] / 2) > kLimit || std::abs(pads.after[i] / 2) > kLimit)
      return ctx.error(fmt::format("a pad of dimension {} is out of range", i));
    const int64_t added = pads.before[i] + pads.after[i];
    if (in[i] == kUnknownDim && added != 0) continue;
    out[i] = in[i] + added;
    if (in[i] >= 0 && out[i] < 0)
      return ctx.error(fmt::format("pads crop more than dimension {} of {} has", i, to_string(in)));
  }
  return out;
}

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  const auto pads = ctx.ints(1);
  const auto axes = ctx.ints(3);
  Shape out(ctx.shape(0).size(), kUnknownDim);
  if (pads && (axes || !ctx.has(3))) {
    const Pads known = PLANISH_TRY(pads_of(ctx, ctx.rank(0), *pads, axes));
    out = PLANISH_TRY(padded(ctx, ctx.shape(0), known));
  }
  ctx.set(0, ctx.dtype(0), out);
  return {};
}

/// Source index for position `i` relative to the start of a dimension of `dim` >= 1 elements; -1: the constant.
int64_t source_index(std::string_view mode, int64_t i, int64_t dim) {
  if (i >= 0 && i < dim) return i;
  if (mode == "edge") return i < 0 ? 0 : dim - 1;
  const auto modulo = [](int64_t a, int64_t n) { return (a % n + n) % n; };
  if (mode == "wrap") return modulo(i, dim);
  if (mode == "reflect") {
    if (dim == 1) return 0;
    const int64_t m = modulo(i, 2 * (dim - 1));
    return m < dim ? m : 2 * (dim - 1) - m;
  }
  return -1;
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  const Tensor& x = ctx.in(0);
  const std::string mode = ctx.node().attr_string("mode", "constant");
  if (mode != "constant" && mode != "reflect" && mode != "edge" && mode != "wrap")
    return ctx.error(fmt::format("mode '{}' is not known", mode), "use constant, reflect, edge or wrap");
  std::optional<std::vector<int64_t>> axes;
  if (ctx.has(3)) axes = ctx.in(3).to_i64();
  const Pads pads = PLANISH_TRY(pads_of(ctx, x.rank(), ctx.in(1).to_i64(), std::move(axes)));
  const Shape shape = PLANISH_TRY(padded(ctx, x.shape(), pads));
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), shape));
  const ElementReader in(x);
  ElementWriter out(*y);
  if (mode == "constant") {
    Tensor value(x.dtype(), Shape{});
    if (ctx.has(2)) {
      if (ctx.in(2).size() != 1 || ctx.in(2).dtype() != x.dtype())
        return ctx.error("constant_value must be one element of the type of data");
      value = ctx.in(2);
    }
    fill_elements(out.data(), y->size(), ElementReader(value).data(), out.width());
  }
  std::vector<std::vector<int64_t>> maps(shape.size());
  for (size_t d = 0; d < shape.size(); ++d) {
    if (x.shape()[d] == 0 && shape[d] != 0 && mode != "constant")
      return ctx.error(
          fmt::format("mode {} has nothing to take from dimension {} of {}", mode, d, to_string(x.shape())));
    for (int64_t i = 0; i < shape[d]; ++i)
      maps[d].push_back(x.shape()[d] == 0 ? -1 : source_index(mode, i - pads.before[d], x.shape()[d]));
  }
  mapped_copy(in.width(), maps, in.data(), row_major_strides(x.shape()), out.data());
  return {};
}

constexpr std::array kOps{
    OpDecl{
        .name = "Pad", .since = 1, .shape_inputs = 0b1010, .one_type = 0b101, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> pad_ops() { return kOps; }

}  // namespace planish
