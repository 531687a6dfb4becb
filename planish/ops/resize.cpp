// Resize: separable nearest, linear or cubic resampling, with all coordinate transformations, antialiasing and
// aspect-ratio policies. Nearest takes any type, the others real types.
// https://onnx.ai/onnx/operators/onnx__Resize.html

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "planish/base/parallel.h"
#include "planish/ops/checks.h"
#include "planish/ops/elements.h"
#include "planish/ops/registry.h"
#include "planish/ops/resize_axis.h"
#include "planish/ops/strided_copy.h"

namespace planish {
namespace {

/// Values of the inputs that decide the output shape, as long as the list of axes each.
struct Request {
  std::vector<int64_t> axes;
  std::vector<double> roi;  ///< starts, then ends; empty when not given
  std::optional<std::vector<double>> scales;
  std::optional<std::vector<int64_t>> sizes;
};

/// Optional inputs also come as empty tensors.
bool given(const Tensor* t) { return t != nullptr && t->size() != 0; }

std::vector<double> doubles(const Tensor& t) {
  std::vector<double> out;
  for (int64_t i = 0; i < t.size(); ++i) out.push_back(t.at(i));
  return out;
}

template <typename Ctx>
Result<Request> request_of(const Ctx& ctx, int64_t rank, const Tensor* roi, const Tensor* scales, const Tensor* sizes) {
  Request r;
  std::vector<int64_t> axes = ctx.node().attr_ints("axes");
  if (!ctx.node().has_attr("axes")) {
    axes.resize(static_cast<size_t>(rank));
    std::iota(axes.begin(), axes.end(), 0);
  }
  const auto normal = normalise_axes(axes, rank);
  if (!normal) return ctx.error(fmt::format("axes {} do not fit rank {}", to_string(axes), rank));
  r.axes = *normal;
  if (given(roi)) r.roi = doubles(*roi);
  if (given(scales)) r.scales = doubles(*scales);
  if (given(sizes)) r.sizes = sizes->to_i64();
  const size_t n = r.axes.size();
  if ((r.scales && r.scales->size() != n) || (r.sizes && (r.sizes->size() != n || !is_static(*r.sizes))))
    return ctx.error(fmt::format("scales or sizes do not fit {} axes", n));
  if (r.scales.has_value() == r.sizes.has_value()) return ctx.error("exactly one of scales and sizes must be given");
  for (const double s : r.scales.value_or(std::vector<double>{}))
    if (!(s > 0 && s < 1e9)) return ctx.error(fmt::format("scale {} is not in (0, 1e9)", s));
  if (ctx.node().attr_string("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize") {
    if (r.roi.size() != 2 * n) return ctx.error("tf_crop_and_resize needs a roi with a start and an end per axis");
  } else {
    r.roi.clear();
  }
  return r;
}

/// What happens along every dimension of the input: output length and scale.
struct Extent {
  int64_t out;
  double scale = 1;
  double roi_start = 0;
  double roi_end = 1;
};

/// One scale for all axes, as keep_aspect_ratio_policy asks for; nullopt: each size stands for itself.
template <typename Ctx>
Result<std::optional<double>> common_scale(const Ctx& ctx, const Shape& in, const Request& r) {
  const std::string policy = ctx.node().attr_string("keep_aspect_ratio_policy", "stretch");
  if (policy == "stretch" || !r.sizes) return std::optional<double>();
  if (policy != "not_larger" && policy != "not_smaller")
    return ctx.error(fmt::format("keep_aspect_ratio_policy '{}' is not known", policy));
  std::optional<double> best;
  for (size_t i = 0; i < r.axes.size(); ++i) {
    const double s = static_cast<double>((*r.sizes)[i]) /
                     static_cast<double>(std::max<int64_t>(in[static_cast<size_t>(r.axes[i])], 1));
    best = !best ? s : (policy == "not_larger" ? std::min(*best, s) : std::max(*best, s));
  }
  return best;
}

/// -1 as length where the input's dimension decides and is unknown.
template <typename Ctx>
Result<std::vector<Extent>> extents_of(const Ctx& ctx, const Shape& in, const Request& r) {
  std::vector<Extent> out;
  for (const int64_t d : in) out.push_back({.out = d});
  bool known = true;
  for (const int64_t a : r.axes) known = known && in[static_cast<size_t>(a)] >= 0;
  const bool policy = r.sizes && ctx.node().attr_string("keep_aspect_ratio_policy", "stretch") != "stretch";
  std::optional<double> common;
  if (known || !policy) common = PLANISH_TRY(common_scale(ctx, in, r));
  for (size_t i = 0; i < r.axes.size(); ++i) {
    const auto a = static_cast<size_t>(r.axes[i]);
    const auto dim = static_cast<double>(in[a]);
    Extent& e = out[a];
    if (!r.roi.empty()) {
      e.roi_start = r.roi[i];
      e.roi_end = r.roi[i + r.axes.size()];
    }
    if (policy && !known) {
      e.out = kUnknownDim;
    } else if (common) {
      e.scale = *common;
      e.out = static_cast<int64_t>(*common * dim + 0.5);
    } else if (r.sizes) {
      e.out = (*r.sizes)[i];
      e.scale = in[a] > 0 ? static_cast<double>(e.out) / dim : 1;
    } else {
      e.scale = (*r.scales)[i];
      const double length = dim * (e.roi_end - e.roi_start) * e.scale;
      e.out = in[a] < 0 ? kUnknownDim : static_cast<int64_t>(std::floor(std::clamp(length, 0.0, 1e12)));
    }
    if (in[a] == 0 && e.out > 0) return ctx.error("an empty dimension cannot be enlarged");
  }
  return out;
}

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const auto unknown = [&](size_t i) {
    return ctx.has(i) && ctx.value(i) == nullptr && element_count(ctx.shape(i)) != 0;
  };
  Shape out(ctx.shape(0).size(), kUnknownDim);
  const bool cropped = ctx.node().attr_string("coordinate_transformation_mode", "") == "tf_crop_and_resize";
  if (!unknown(2) && !unknown(3) && !(cropped && unknown(1))) {
    const Request r = PLANISH_TRY(request_of(ctx, ctx.rank(0), ctx.value(1), ctx.value(2), ctx.value(3)));
    const auto extents = PLANISH_TRY(extents_of(ctx, ctx.shape(0), r));
    for (size_t i = 0; i < out.size(); ++i) out[i] = extents[i].out;
  } else if (ctx.node().has_attr("axes")) {
    const auto axes = normalise_axes(ctx.node().attr_ints("axes"), ctx.rank(0));
    for (size_t i = 0; axes && i < out.size(); ++i)
      if (std::ranges::find(*axes, static_cast<int64_t>(i)) == axes->end()) out[i] = ctx.shape(0)[i];
  }
  ctx.set(0, ctx.dtype(0), out);
  return {};
}

/// Resamples contiguous elements.
template <typename T>
void resample_row(const ResizeAxis& axis, T extrapolation, const T* from, T* to) {
  const int64_t* index = axis.index.data();
  const double* weight = axis.weight.data();
  const auto n = static_cast<int64_t>(axis.outside.size());
  for (int64_t i = 0; i < n; ++i, index += axis.taps, weight += axis.taps) {
    double sum = 0;
    for (int64_t t = 0; t < axis.taps; ++t) sum += weight[t] * static_cast<double>(from[index[t]]);
    to[i] = axis.outside[static_cast<size_t>(i)] ? extrapolation : static_cast<T>(sum);
  }
}

/// Resamples the middle dimension of [outer, axis.in, inner] to [outer, axis.out, inner].
template <typename T>
std::vector<T> resample(const std::vector<T>& in, int64_t outer, int64_t inner, const ResizeAxis& axis,
                        T extrapolation) {
  const int64_t out_len = static_cast<int64_t>(axis.outside.size());
  std::vector<T> out(static_cast<size_t>(outer * out_len * inner));
  const auto taps = static_cast<size_t>(axis.taps);
  parallel_for(outer, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, out_len * inner)), [&](int64_t b, int64_t e) {
    for (int64_t o = b; o < e; ++o) {
      const T* from = in.data() + o * axis.in * inner;
      T* to = out.data() + o * out_len * inner;
      if (inner == 1) {
        resample_row(axis, extrapolation, from, to);
        continue;
      }
      for (int64_t i = 0; i < out_len; ++i, to += inner) {
        const size_t first = static_cast<size_t>(i) * taps;
        if (axis.outside[static_cast<size_t>(i)]) {
          std::fill(to, to + inner, extrapolation);
          continue;
        }
        for (size_t t = first; t < first + taps; ++t) {
          const T* row = from + axis.index[t] * inner;
          const T w = static_cast<T>(axis.weight[t]);
          if (t == first)
            for (int64_t k = 0; k < inner; ++k) to[k] = w * row[k];
          else
            for (int64_t k = 0; k < inner; ++k) to[k] += w * row[k];
        }
      }
    }
  });
  return out;
}

bool is_identity(const Extent& e, int64_t in) {
  return e.out == in && std::abs(e.scale - 1) < 1e-9 && e.roi_start == 0 && e.roi_end == 1;
}

template <typename T>
std::vector<T> resample_all(std::vector<T> data, Shape shape, std::span<const ResizeAxis> axes, T extrapolation) {
  // Shrinking axes come first: the later ones then have less to do.
  std::vector<size_t> order(axes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t d) {
    return static_cast<double>(axes[d].outside.size()) / static_cast<double>(std::max<int64_t>(axes[d].in, 1));
  });
  for (const size_t d : order) {
    if (axes[d].taps == 0) continue;
    const auto at = static_cast<int64_t>(d);
    const auto rank = static_cast<int64_t>(shape.size());
    data = resample(data, product(shape, 0, at), product(shape, at + 1, rank), axes[d], extrapolation);
    shape[d] = static_cast<int64_t>(axes[d].outside.size());
  }
  return data;
}

/// Nearest neighbours: an index table per dimension.
void copy_nearest(const Tensor& x, std::span<const ResizeAxis> axes, double extrapolation, Tensor& y) {
  std::vector<std::vector<int64_t>> maps(axes.size());
  bool outside = false;
  for (size_t d = 0; d < axes.size(); ++d) {
    for (size_t i = 0; i < axes[d].outside.size(); ++i) {
      maps[d].push_back(axes[d].outside[i] ? -1 : axes[d].taps == 0 ? static_cast<int64_t>(i) : axes[d].index[i]);
      outside = outside || axes[d].outside[i];
    }
  }
  const ElementReader in(x);
  ElementWriter out(y);
  if (outside) {
    Tensor value(x.dtype(), Shape{});
    value.set(0, extrapolation);
    fill_elements(out.data(), y.size(), ElementReader(value).data(), out.width());
  }
  mapped_copy(in.width(), maps, in.data(), row_major_strides(x.shape()), out.data());
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 1));
  const Tensor& x = ctx.in(0);
  const auto optional = [&](size_t i) { return ctx.has(i) ? &ctx.in(i) : nullptr; };
  const Request r = PLANISH_TRY(request_of(ctx, x.rank(), optional(1), optional(2), optional(3)));
  const auto extents = PLANISH_TRY(extents_of(ctx, x.shape(), r));
  const Node& node = ctx.node();
  const ResizeRule rule{.mode = node.attr_string("mode", "nearest"),
                        .nearest_mode = node.attr_string("nearest_mode", "round_prefer_floor"),
                        .transform = node.attr_string("coordinate_transformation_mode", "half_pixel"),
                        .antialias = node.attr_int("antialias", 0) != 0,
                        .exclude_outside = node.attr_int("exclude_outside", 0) != 0,
                        .cubic_coeff_a = node.attr_float("cubic_coeff_a", -0.75F)};
  Shape shape;
  for (const Extent& e : extents) shape.push_back(e.out);
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), shape));
  if (y->size() == 0) return {};
  std::vector<ResizeAxis> axes;
  for (size_t d = 0; d < extents.size(); ++d) {
    const Extent& e = extents[d];
    if (is_identity(e, x.shape()[d])) {
      axes.push_back({.in = e.out, .taps = 0, .index = {}, .weight = {}, .outside = std::vector<char>(e.out, 0)});
      continue;
    }
    auto axis = resize_axis(rule, x.shape()[d], e.out, e.scale, e.roi_start, e.roi_end);
    if (!axis.ok()) return ctx.error(axis.error().what, axis.error().fix);
    axes.push_back(std::move(axis).take_value());
  }
  const double extrapolation = node.attr_float("extrapolation_value", 0);
  if (rule.mode == "nearest") {
    copy_nearest(x, axes, extrapolation, *y);
    return {};
  }
  PLANISH_TRY(require_real(ctx));
  if (x.dtype() == DType::f32) {
    const auto in = x.span<float>();
    const auto out =
        resample_all(std::vector<float>(in.begin(), in.end()), x.shape(), axes, static_cast<float>(extrapolation));
    std::ranges::copy(out, y->data<float>());
  } else {
    const auto out = resample_all(doubles(x), x.shape(), axes, extrapolation);
    for (int64_t i = 0; i < y->size(); ++i) y->set(i, out[static_cast<size_t>(i)]);
  }
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "Resize", .since = 10, .shape_inputs = 0b1110, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> resize_ops() { return kOps; }

}  // namespace planish
