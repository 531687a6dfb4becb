// Col2Im: columns of sliding blocks summed back into an image of any number of spatial dimensions. Real types.
// https://onnx.ai/onnx/operators/onnx__Col2Im.html

#include <fmt/format.h>

#include <array>

#include "planish/ops/checks.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

/// [N, C, image...] from columns [N, C * prod(block), L].
template <typename Ctx>
Result<Shape> image_shape(const Ctx& ctx, const Shape& columns, const std::vector<int64_t>& image,
                          const std::vector<int64_t>& block) {
  const int64_t taps = element_count(block);
  if (columns.size() != 3 || image.empty() || image.size() != block.size() || !is_static(image) || taps < 1 ||
      (columns[1] >= 0 && columns[1] % taps != 0))
    return ctx.error(fmt::format("columns {}, image {} and block {} do not fit", to_string(columns), to_string(image),
                                 to_string(block)));
  Shape out{columns[0], columns[1] < 0 ? kUnknownDim : columns[1] / taps};
  out.insert(out.end(), image.begin(), image.end());
  return out;
}

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  const auto image = ctx.ints(1);
  const auto block = ctx.ints(2);
  if (image && block) {
    ctx.set(0, ctx.dtype(0), PLANISH_TRY(image_shape(ctx, ctx.shape(0), *image, *block)));
    return {};
  }
  std::optional<Shape> out;
  if (ctx.rank(1) == 1 && ctx.shape(1)[0] >= 0) {
    out = Shape(static_cast<size_t>(ctx.shape(1)[0]) + 2, kUnknownDim);
    if (!ctx.shape(0).empty()) (*out)[0] = ctx.shape(0)[0];
  }
  ctx.set(0, ctx.dtype(0), out);
  return {};
}

/// Strides, dilations and leading pads, and how many blocks fit along each dimension.
struct Blocks {
  std::vector<int64_t> strides, dilations, pads, count;
};

Result<Blocks> blocks_of(const RefContext& ctx, const std::vector<int64_t>& image, const std::vector<int64_t>& block) {
  const size_t n = image.size();
  const Node& node = ctx.node();
  Blocks b{node.attr_ints("strides", std::vector<int64_t>(n, 1)),
           node.attr_ints("dilations", std::vector<int64_t>(n, 1)),
           node.attr_ints("pads", std::vector<int64_t>(2 * n, 0)),
           {}};
  if (b.strides.size() != n || b.dilations.size() != n || b.pads.size() != 2 * n)
    return ctx.error(fmt::format("strides, dilations and pads do not fit {} dimensions", n));
  constexpr int64_t kLimit = int64_t{1} << 30;  // products of two stay in 64 bits
  for (size_t d = 0; d < n; ++d) {
    const bool sane = b.strides[d] > 0 && b.strides[d] < kLimit && b.dilations[d] > 0 && b.dilations[d] < kLimit &&
                      b.pads[d] >= 0 && b.pads[d] < kLimit && b.pads[d + n] >= 0 && b.pads[d + n] < kLimit &&
                      block[d] < kLimit;
    if (!sane) return ctx.error("strides, dilations, pads or block_shape are out of range");
    const int64_t room = image[d] + b.pads[d] + b.pads[d + n] - b.dilations[d] * (block[d] - 1) - 1;
    b.count.push_back(room < 0 ? 0 : room / b.strides[d] + 1);
  }
  return b;
}

/// Splits a flat index into coordinates of `dims`.
void unflatten(int64_t flat, std::span<const int64_t> dims, std::span<int64_t> out) {
  for (size_t d = dims.size(); d-- > 0;) {
    out[d] = flat % dims[d];
    flat /= dims[d];
  }
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  const std::vector<int64_t> image = ctx.in(1).to_i64();
  const std::vector<int64_t> block = ctx.in(2).to_i64();
  const Shape shape = PLANISH_TRY(image_shape(ctx, x.shape(), image, block));
  const Blocks blocks = PLANISH_TRY(blocks_of(ctx, image, block));
  if (element_count(blocks.count) != x.dim(2))
    return ctx.error(fmt::format("{} columns, but {} blocks fit the image", x.dim(2), element_count(blocks.count)));
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), shape));
  const int64_t taps = element_count(block);
  const int64_t pixels = element_count(image);
  const size_t n = image.size();
  std::vector<double> plane(static_cast<size_t>(pixels));
  std::vector<int64_t> tap_at(n);
  std::vector<int64_t> block_at(n);
  for (int64_t channel = 0; channel < shape[0] * shape[1]; ++channel) {
    std::fill(plane.begin(), plane.end(), 0.0);
    for (int64_t t = 0; t < taps; ++t) {
      unflatten(t, block, tap_at);
      for (int64_t l = 0; l < x.dim(2); ++l) {
        unflatten(l, blocks.count, block_at);
        int64_t pixel = 0;
        bool inside = true;
        for (size_t d = 0; d < n; ++d) {
          const int64_t at = block_at[d] * blocks.strides[d] + tap_at[d] * blocks.dilations[d] - blocks.pads[d];
          inside = inside && at >= 0 && at < image[d];
          pixel = pixel * image[d] + at;
        }
        if (inside) plane[static_cast<size_t>(pixel)] += x.at((channel * taps + t) * x.dim(2) + l);
      }
    }
    for (int64_t i = 0; i < pixels; ++i) y->set(channel * pixels + i, plane[static_cast<size_t>(i)]);
  }
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "Col2Im", .since = 18, .shape_inputs = 0b110, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> col2im_ops() { return kOps; }

}  // namespace planish
