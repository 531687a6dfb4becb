// RoiAlign and MaxRoiPool: regions of an image pooled to a fixed size. Floating-point types.
// https://onnx.ai/onnx/operators/onnx__RoiAlign.html https://onnx.ai/onnx/operators/onnx__MaxRoiPool.html

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "planish/ops/checks.h"
#include "planish/ops/registry.h"
#include "planish/ops/roi_align.h"

namespace planish {
namespace {

template <typename Ctx>
Result<Shape> pooled_shape(const Ctx& ctx, const Shape& x, const Shape& rois, int64_t columns, int64_t height,
                           int64_t width) {
  if (x.size() != 4 || rois.size() != 2 || (rois[1] >= 0 && rois[1] != columns) || height < 1 || width < 1)
    return ctx.error(
        fmt::format("input {}, regions {} and output {}x{} do not fit", to_string(x), to_string(rois), height, width));
  return Shape{rois[0], x[1], height, width};
}

Status infer_roi_align(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  const Node& n = ctx.node();
  ctx.set(0, ctx.dtype(0),
          PLANISH_TRY(pooled_shape(ctx, ctx.shape(0), ctx.shape(1), 4, n.attr_int("output_height", 1),
                                   n.attr_int("output_width", 1))));
  return {};
}

RoiCorners corners_at(double y, double x, int64_t height, int64_t width) {
  const auto h = static_cast<double>(height);
  const auto w = static_cast<double>(width);
  if (!(y >= -1 && y <= h && x >= -1 && x <= w)) return {};
  y = std::clamp(y, 0.0, h - 1);
  x = std::clamp(x, 0.0, w - 1);
  const auto y0 = static_cast<int64_t>(y);
  const auto x0 = static_cast<int64_t>(x);
  const int64_t y1 = std::min(y0 + 1, height - 1);
  const int64_t x1 = std::min(x0 + 1, width - 1);
  const double ly = y - static_cast<double>(y0);
  const double lx = x - static_cast<double>(x0);
  return {{y0 * width + x0, y0 * width + x1, y1 * width + x0, y1 * width + x1},
          {(1 - ly) * (1 - lx), (1 - ly) * lx, ly * (1 - lx), ly * lx}};
}

std::vector<RoiCorners> bin_samples(const RoiRegion& r, int64_t ph, int64_t pw, int64_t height, int64_t width) {
  std::vector<RoiCorners> out;
  for (int64_t iy = 0; iy < r.grid_h; ++iy)
    for (int64_t ix = 0; ix < r.grid_w; ++ix) out.push_back(roi_sample(r, ph, pw, iy, ix, height, width));
  return out;
}

double pool_samples(const Tensor& x, int64_t plane, std::span<const RoiCorners> samples, bool average) {
  double sum = 0;
  double best = samples.empty() ? 0 : -std::numeric_limits<double>::infinity();
  for (const RoiCorners& s : samples) {
    for (size_t k = 0; k < 4; ++k) {
      const double v = s.weight[k] * x.at(plane + s.offset[k]);
      sum += v;
      // ONNX defines the maximum over the weighted corners, not over the interpolated values.
      best = std::max(best, v);
    }
  }
  return average ? sum / static_cast<double>(std::max<size_t>(samples.size(), 1)) : best;
}

Status roi_align(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 3));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  const Tensor& rois = ctx.in(1);
  const Node& node = ctx.node();
  const Shape shape = PLANISH_TRY(pooled_shape(ctx, x.shape(), rois.shape(), 4, node.attr_int("output_height", 1),
                                               node.attr_int("output_width", 1)));
  const std::string mode = node.attr_string("mode", "avg");
  if (mode != "avg" && mode != "max") return ctx.error(fmt::format("mode '{}' is not known", mode), "use avg or max");
  if (ctx.in(2).size() != shape[0]) return ctx.error("batch_indices needs one entry per region");
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), shape));
  if (y->size() == 0) return {};
  const int64_t height = x.dim(2);
  const int64_t width = x.dim(3);
  if (height * width == 0) return ctx.error("the image is empty");
  for (int64_t n = 0; n < shape[0]; ++n) {
    const int64_t batch = ctx.in(2).int_at(n);
    if (batch < 0 || batch >= x.dim(0)) return ctx.error(fmt::format("batch index {} is out of range", batch));
    const RoiRegion region = PLANISH_TRY(roi_region(
        node, {rois.at(n * 4), rois.at(n * 4 + 1), rois.at(n * 4 + 2), rois.at(n * 4 + 3)}, shape[2], shape[3]));
    for (int64_t bin = 0; bin < shape[2] * shape[3]; ++bin) {
      const auto samples = bin_samples(region, bin / shape[3], bin % shape[3], height, width);
      for (int64_t c = 0; c < shape[1]; ++c)
        y->set((n * shape[1] + c) * shape[2] * shape[3] + bin,
               pool_samples(x, (batch * shape[1] + c) * height * width, samples, mode == "avg"));
    }
  }
  return {};
}

template <typename Ctx>
Result<Shape> max_roi_shape(const Ctx& ctx, const Shape& x, const Shape& rois) {
  const auto size = ctx.node().attr_ints("pooled_shape");
  if (size.size() != 2) return ctx.error("pooled_shape must have two entries");
  return pooled_shape(ctx, x, rois, 5, size[0], size[1]);
}

Status infer_max_roi_pool(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  ctx.set(0, ctx.dtype(0), PLANISH_TRY(max_roi_shape(ctx, ctx.shape(0), ctx.shape(1))));
  return {};
}

/// Pixels [begin, end) of bin `i` of `bins` in a region of `length` pixels that starts at `start`.
std::pair<int64_t, int64_t> bin_range(int64_t i, int64_t bins, int64_t start, int64_t length, int64_t limit) {
  const double step = static_cast<double>(length) / static_cast<double>(bins);
  const auto begin = start + static_cast<int64_t>(std::floor(static_cast<double>(i) * step));
  const auto end = start + static_cast<int64_t>(std::ceil(static_cast<double>(i + 1) * step));
  return {std::clamp<int64_t>(begin, 0, limit), std::clamp<int64_t>(end, 0, limit)};
}

/// Source: Girshick 2015, "Fast R-CNN", section 2.1: each region is cut into bins, an empty bin gives 0.
Status max_roi_pool(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  const Tensor& x = ctx.in(0);
  const Tensor& rois = ctx.in(1);
  const Shape shape = PLANISH_TRY(max_roi_shape(ctx, x.shape(), rois.shape()));
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), shape));
  const double scale = ctx.node().attr_float("spatial_scale", 1);
  for (int64_t n = 0; n < shape[0]; ++n) {
    std::array<int64_t, 4> corner{};
    for (int64_t k = 0; k < 4; ++k) {
      const double v = std::round(rois.at(n * 5 + 1 + k) * scale);
      if (!(std::abs(v) < 1e9)) return ctx.error(fmt::format("region {} is out of range", n));
      corner[static_cast<size_t>(k)] = static_cast<int64_t>(v);
    }
    const int64_t batch = rois.int_at(n * 5);
    if (batch < 0 || batch >= x.dim(0)) return ctx.error(fmt::format("batch index {} is out of range", batch));
    const int64_t width = std::max<int64_t>(corner[2] - corner[0] + 1, 1);
    const int64_t height = std::max<int64_t>(corner[3] - corner[1] + 1, 1);
    for (int64_t i = 0; i < shape[1] * shape[2] * shape[3]; ++i) {
      const auto [top, bottom] = bin_range(i / shape[3] % shape[2], shape[2], corner[1], height, x.dim(2));
      const auto [left, right] = bin_range(i % shape[3], shape[3], corner[0], width, x.dim(3));
      const int64_t plane = (batch * shape[1] + i / (shape[2] * shape[3])) * x.dim(2);
      double best = top < bottom && left < right ? -std::numeric_limits<double>::infinity() : 0;
      for (int64_t h = top; h < bottom; ++h)
        for (int64_t w = left; w < right; ++w) best = std::max(best, x.at((plane + h) * x.dim(3) + w));
      y->set(n * shape[1] * shape[2] * shape[3] + i, best);
    }
  }
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "MaxRoiPool", .since = 1, .infer = infer_max_roi_pool, .reference = max_roi_pool},
    OpDecl{.name = "RoiAlign", .since = 10, .infer = infer_roi_align, .reference = roi_align},
};

}  // namespace

Result<RoiRegion> roi_region(const Node& node, const std::array<double, 4>& corners, int64_t out_h, int64_t out_w) {
  const double scale = node.attr_float("spatial_scale", 1);
  const int64_t sampling = node.attr_int("sampling_ratio", 0);
  const bool shifted = node.attr_string("coordinate_transformation_mode", "half_pixel") == "half_pixel";
  const double offset = shifted ? 0.5 : 0;
  const double left = corners[0] * scale - offset;
  const double top = corners[1] * scale - offset;
  double w = corners[2] * scale - offset - left;
  double h = corners[3] * scale - offset - top;
  if (!shifted) {
    w = std::max(w, 1.0);
    h = std::max(h, 1.0);
  }
  const double bin_h = h / static_cast<double>(out_h);
  const double bin_w = w / static_cast<double>(out_w);
  constexpr double kMaxGrid = 1 << 14;
  if (sampling < 0 || static_cast<double>(sampling) > kMaxGrid || !(bin_h < kMaxGrid) || !(bin_w < kMaxGrid))
    return Error{
        .code = Code::invalid_argument,
        .node = node.name,
        .what = fmt::format("RoiAlign: a region of {}x{} pixels or sampling_ratio {} is too large", h, w, sampling)};
  const auto adaptive = [](double bin) { return std::max<int64_t>(0, static_cast<int64_t>(std::ceil(bin))); };
  return RoiRegion{
      top, left, bin_h, bin_w, sampling > 0 ? sampling : adaptive(bin_h), sampling > 0 ? sampling : adaptive(bin_w)};
}

RoiCorners roi_sample(const RoiRegion& r, int64_t ph, int64_t pw, int64_t iy, int64_t ix, int64_t height,
                      int64_t width) {
  const double y = (static_cast<double>(iy) + 0.5) / static_cast<double>(r.grid_h);
  const double x = (static_cast<double>(ix) + 0.5) / static_cast<double>(r.grid_w);
  return corners_at(r.top + (static_cast<double>(ph) + y) * r.bin_h, r.left + (static_cast<double>(pw) + x) * r.bin_w,
                    height, width);
}

std::span<const OpDecl> roi_pool_ops() { return kOps; }

}  // namespace planish
