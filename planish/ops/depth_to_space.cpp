// DepthToSpace, SpaceToDepth: blocks of channels to blocks of pixels and back; ReverseSequence, CenterCropPad. Any
// type. https://onnx.ai/onnx/operators/onnx__DepthToSpace.html (and SpaceToDepth, ReverseSequence, CenterCropPad)

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "planish/ops/checks.h"
#include "planish/ops/elements.h"
#include "planish/ops/registry.h"
#include "planish/ops/strided_copy.h"

namespace planish {
namespace {

int64_t dim_div(int64_t d, int64_t by) { return d < 0 ? kUnknownDim : d / by; }

/// Shape after moving b*b blocks between channels and pixels. `to_space`: C shrinks, H and W grow.
template <typename Ctx>
Result<Shape> block_shape(const Ctx& ctx, const Shape& in, bool to_space) {
  const int64_t b = ctx.node().attr_int("blocksize", 0);
  if (b < 1 || b > 1 << 15 || in.size() != 4)
    return ctx.error(fmt::format("blocksize {} and input {} do not fit", b, to_string(in)));
  if (to_space) {
    if (in[1] >= 0 && in[1] % (b * b) != 0)
      return ctx.error(fmt::format("{} channels do not divide by {}", in[1], b * b));
    return Shape{in[0], dim_div(in[1], b * b), dim_mul(in[2], b), dim_mul(in[3], b)};
  }
  if ((in[2] >= 0 && in[2] % b != 0) || (in[3] >= 0 && in[3] % b != 0))
    return ctx.error(fmt::format("the image {} does not divide by {}", to_string(in), b));
  return Shape{in[0], dim_mul(in[1], b * b), dim_div(in[2], b), dim_div(in[3], b)};
}

Status infer_depth_to_space(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  ctx.set(0, ctx.dtype(0), PLANISH_TRY(block_shape(ctx, ctx.shape(0), true)));
  return {};
}

Status infer_space_to_depth(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  ctx.set(0, ctx.dtype(0), PLANISH_TRY(block_shape(ctx, ctx.shape(0), false)));
  return {};
}

/// DCR: channels are block row, block column, depth; CRD: depth, block row, block column.
Result<std::string> mode_of(const RefContext& ctx) {
  std::string mode = ctx.node().attr_string("mode", "DCR");
  if (mode != "DCR" && mode != "CRD") return ctx.error(fmt::format("mode '{}' is not known", mode), "use DCR or CRD");
  return mode;
}

Status depth_to_space(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const Tensor& x = ctx.in(0);
  const std::string mode = PLANISH_TRY(mode_of(ctx));
  const Shape shape = PLANISH_TRY(block_shape(ctx, x.shape(), true));
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), shape));
  const int64_t b = ctx.node().attr_int("blocksize", 0);
  const int64_t c = shape[1];
  const int64_t h = x.dim(2);
  const int64_t w = x.dim(3);
  // Output order: n, c, h, block row, w, block column.
  const int64_t channel = mode == "DCR" ? 1 : b * b;
  const int64_t row = mode == "DCR" ? b * c : b;
  const int64_t column = mode == "DCR" ? c : 1;
  const std::array dims{shape[0], c, h, b, w, b};
  const std::array from{c * b * b * h * w, channel * h * w, w, row * h * w, int64_t{1}, column * h * w};
  const ElementReader in(x);
  ElementWriter out(*y);
  strided_copy(in.width(), dims, in.data(), from, out.data(), row_major_strides(dims));
  return {};
}

Status space_to_depth(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const Tensor& x = ctx.in(0);
  const std::string mode = PLANISH_TRY(mode_of(ctx));
  const Shape shape = PLANISH_TRY(block_shape(ctx, x.shape(), false));
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), shape));
  const int64_t b = ctx.node().attr_int("blocksize", 0);
  const int64_t c = x.dim(1);
  const int64_t h = shape[2];
  const int64_t w = shape[3];
  // Input order: n, c, h, block row, w, block column.
  const int64_t channel = mode == "DCR" ? 1 : b * b;
  const int64_t row = mode == "DCR" ? b * c : b;
  const int64_t column = mode == "DCR" ? c : 1;
  const std::array dims{shape[0], c, h, b, w, b};
  const std::array to{c * b * b * h * w, channel * h * w, w, row * h * w, int64_t{1}, column * h * w};
  const ElementReader in(x);
  ElementWriter out(*y);
  strided_copy(in.width(), dims, in.data(), row_major_strides(dims), out.data(), to);
  return {};
}

Status infer_reverse_sequence(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  ctx.set(0, ctx.dtype(0), ctx.shape(0));
  return {};
}

Status reverse_sequence(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  const Tensor& x = ctx.in(0);
  const int64_t time = ctx.node().attr_int("time_axis", 0);
  const int64_t batch = ctx.node().attr_int("batch_axis", 1);
  if (x.rank() < 2 || time + batch != 1 || (time != 0 && time != 1))
    return ctx.error("time_axis and batch_axis must be 0 and 1, or 1 and 0");
  const std::vector<int64_t> lengths = ctx.in(1).to_i64();
  if (static_cast<int64_t>(lengths.size()) != x.dim(batch))
    return ctx.error("sequence_lens needs one entry per sample");
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), x.shape()));
  const ElementReader in(x);
  ElementWriter out(*y);
  const int64_t block = product(x.shape(), 2, x.rank()) * in.width();
  for (int64_t b = 0; b < x.dim(batch); ++b) {
    const int64_t length = lengths[static_cast<size_t>(b)];
    if (length < 0 || length > x.dim(time)) return ctx.error(fmt::format("sequence length {} is out of range", length));
    for (int64_t t = 0; t < x.dim(time); ++t) {
      const int64_t from = t < length ? length - 1 - t : t;
      const auto at = [&](int64_t step) { return (time == 0 ? step * x.dim(1) + b : b * x.dim(1) + step) * block; };
      std::memcpy(out.data() + at(t), in.data() + at(from), static_cast<size_t>(block));
    }
  }
  return {};
}

template <typename Ctx>
Result<Shape> crop_pad_shape(const Ctx& ctx, const Shape& in, const std::vector<int64_t>& target) {
  std::vector<int64_t> axes = ctx.node().attr_ints("axes");
  if (!ctx.node().has_attr("axes")) {
    axes.resize(in.size());
    std::iota(axes.begin(), axes.end(), 0);
  }
  const auto normal = normalise_axes(axes, static_cast<int64_t>(in.size()));
  if (!normal || normal->size() != target.size() || !std::ranges::all_of(target, [](int64_t d) { return d >= -1; }))
    return ctx.error(
        fmt::format("shape {} and axes {} do not fit {}", to_string(target), to_string(axes), to_string(in)));
  Shape out = in;
  for (size_t i = 0; i < target.size(); ++i) out[static_cast<size_t>((*normal)[i])] = target[i];
  return out;
}

Status infer_center_crop_pad(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  const size_t count = ctx.node().has_attr("axes") ? ctx.node().attr_ints("axes").size() : ctx.shape(0).size();
  const auto target = ctx.ints(1).value_or(std::vector<int64_t>(count, kUnknownDim));
  ctx.set(0, ctx.dtype(0), PLANISH_TRY(crop_pad_shape(ctx, ctx.shape(0), target)));
  return {};
}

Status center_crop_pad(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  const Tensor& x = ctx.in(0);
  const Shape shape = PLANISH_TRY(crop_pad_shape(ctx, x.shape(), ctx.in(1).to_i64()));
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), shape));
  const ElementReader in(x);
  ElementWriter out(*y);
  if (y->size() != 0) std::memset(out.data(), 0, static_cast<size_t>(y->size() * out.width()));
  std::vector<std::vector<int64_t>> maps(shape.size());
  for (size_t d = 0; d < shape.size(); ++d) {
    const int64_t dim = x.shape()[d];
    // Both differences round towards the front.
    const int64_t shift = dim >= shape[d] ? (dim - shape[d]) / 2 : -((shape[d] - dim) / 2);
    for (int64_t i = 0; i < shape[d]; ++i) maps[d].push_back(i + shift >= 0 && i + shift < dim ? i + shift : -1);
  }
  mapped_copy(in.width(), maps, in.data(), row_major_strides(x.shape()), out.data());
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "CenterCropPad",
           .since = 18,
           .shape_inputs = 1U << 1,
           .infer = infer_center_crop_pad,
           .reference = center_crop_pad},
    OpDecl{.name = "DepthToSpace", .since = 1, .infer = infer_depth_to_space, .reference = depth_to_space},
    OpDecl{.name = "ReverseSequence", .since = 10, .infer = infer_reverse_sequence, .reference = reverse_sequence},
    OpDecl{.name = "SpaceToDepth", .since = 1, .infer = infer_space_to_depth, .reference = space_to_depth},
};

}  // namespace

std::span<const OpDecl> depth_to_space_ops() { return kOps; }

}  // namespace planish
