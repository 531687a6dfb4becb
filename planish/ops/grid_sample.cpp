// GridSample: an image read at the coordinates of a grid; AffineGrid: the grid of an affine map. Any number of spatial
// dimensions (AffineGrid: 2 or 3), real types. https://onnx.ai/onnx/operators/onnx__GridSample.html (and AffineGrid)

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "planish/base/parallel.h"
#include "planish/ops/checks.h"
#include "planish/ops/elements.h"
#include "planish/ops/grid_sample.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

using Mode = SampleRule::Mode;
using Padding = SampleRule::Padding;

template <typename Ctx>
Result<Shape> sampled_shape(const Ctx& ctx, const Shape& x, const Shape& grid) {
  const auto spatial = static_cast<int64_t>(x.size()) - 2;
  if (spatial < 1 || grid.size() != x.size() || (grid.back() >= 0 && grid.back() != spatial))
    return ctx.error(fmt::format("grid {} does not fit input {}", to_string(grid), to_string(x)));
  if (x[0] >= 0 && grid[0] >= 0 && x[0] != grid[0]) return ctx.error("input and grid differ in their batch");
  Shape out{std::max(x[0], grid[0]), x[1]};
  out.insert(out.end(), grid.begin() + 1, grid.end() - 1);
  return out;
}

Status infer_grid_sample(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  ctx.set(0, ctx.dtype(0), PLANISH_TRY(sampled_shape(ctx, ctx.shape(0), ctx.shape(1))));
  return {};
}

/// Mirrors x at low and high until it lies between them.
double reflect(double x, double low, double high) {
  const double range = high - low;
  if (range <= 0) return low;
  const double beyond = x < low ? low - x : x - high;
  if (beyond <= 0) return x;
  const double turns = std::floor(beyond / range);
  const double rest = beyond - turns * range;
  const bool even = std::fmod(turns, 2) == 0;
  return (x < low) == even ? low + rest : high - rest;
}

struct Tap {
  int64_t index;  ///< -1: reads as zero
  double weight;
};

/// Element `i` (maybe outside) of a dimension of `dim` under the padding mode.
int64_t padded_index(const SampleRule& rule, int64_t i, int64_t dim) {
  if (i >= 0 && i < dim) return i;
  if (rule.padding == Padding::zeros) return -1;
  if (rule.padding == Padding::border) return std::clamp<int64_t>(i, 0, dim - 1);
  const double low = rule.align_corners ? 0 : -0.5;
  const double high = static_cast<double>(dim) - (rule.align_corners ? 1 : 0.5);
  return std::clamp<int64_t>(static_cast<int64_t>(reflect(static_cast<double>(i), low, high)), 0, dim - 1);
}

/// Product of the one-dimensional taps: offsets into one channel and their weights.
std::vector<Tap> product_taps(const SampleRule& rule, const Tensor& grid, int64_t first,
                              std::span<const int64_t> dims) {
  std::vector<Tap> all{{0, 1}};
  for (size_t d = 0; d < dims.size(); ++d) {
    // The grid names the innermost dimension first.
    const double g = grid.at(first + static_cast<int64_t>(dims.size() - 1 - d));
    std::vector<Tap> next;
    const AxisTaps taps = axis_taps(rule, g, dims[d]);
    for (size_t t = 0; t < static_cast<size_t>(rule.taps()); ++t)
      for (const Tap& outer : all)
        if (taps.index[t] >= 0) next.push_back({outer.index * dims[d] + taps.index[t], outer.weight * taps.weight[t]});
    all = std::move(next);
  }
  return all;
}

Status grid_sample(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  const SampleRule rule = PLANISH_TRY(sample_rule(ctx.node()));
  const Tensor& x = ctx.in(0);
  const Tensor& grid = ctx.in(1);
  const Shape shape = PLANISH_TRY(sampled_shape(ctx, x.shape(), grid.shape()));
  Tensor* y = PLANISH_TRY(ctx.output(0, x.dtype(), shape));
  if (y->size() == 0) return {};
  const std::span<const int64_t> dims = std::span(x.shape()).subspan(2);
  const int64_t channels = x.dim(1);
  const int64_t plane = element_count(dims);
  const int64_t points = product(shape, 2, x.rank());
  if (plane == 0) return ctx.error("the image is empty");
  const auto sample = [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const auto taps = product_taps(rule, grid, p * static_cast<int64_t>(dims.size()), dims);
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t image = (p / points * channels + c) * plane;
        double sum = 0;
        for (const Tap& t : taps) sum += t.weight * x.at(image + t.index);
        y->set((p / points * channels + c) * points + p % points, sum);
      }
    }
  };
  // Packed elements share bytes, which two threads must not write.
  if (dtype_is_byte_sized(x.dtype()))
    parallel_for(x.dim(0) * points, 256, sample);
  else
    sample(0, x.dim(0) * points);
  return {};
}

template <typename Ctx>
Result<Shape> affine_shape(const Ctx& ctx, const Shape& theta, const std::vector<int64_t>& size) {
  const auto spatial = static_cast<int64_t>(size.size()) - 2;
  if ((spatial != 2 && spatial != 3) || !is_static(size) || theta.size() != 3 ||
      (theta[1] >= 0 && theta[1] != spatial) || (theta[2] >= 0 && theta[2] != spatial + 1) ||
      (theta[0] >= 0 && theta[0] != size[0]))
    return ctx.error(fmt::format("theta {} does not fit size {}", to_string(theta), to_string(size)));
  Shape out{size[0]};
  out.insert(out.end(), size.begin() + 2, size.end());
  out.push_back(spatial);
  return out;
}

Status infer_affine_grid(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  if (const auto size = ctx.ints(1)) {
    ctx.set(0, ctx.dtype(0), PLANISH_TRY(affine_shape(ctx, ctx.shape(0), *size)));
  } else if (ctx.rank(1) == 1 && (ctx.shape(1)[0] == 4 || ctx.shape(1)[0] == 5)) {
    // [N, spatial..., number of spatial dimensions] from [N, C, spatial...].
    Shape out(static_cast<size_t>(ctx.shape(1)[0]), kUnknownDim);
    out.back() = ctx.shape(1)[0] - 2;
    ctx.set(0, ctx.dtype(0), out);
  } else {
    ctx.set(0, ctx.dtype(0), std::nullopt);
  }
  return {};
}

Status affine_grid(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  const Tensor& theta = ctx.in(0);
  const std::vector<int64_t> size = ctx.in(1).to_i64();
  const Shape shape = PLANISH_TRY(affine_shape(ctx, theta.shape(), size));
  Tensor* y = PLANISH_TRY(ctx.output(0, theta.dtype(), shape));
  const bool align = ctx.node().attr_int("align_corners", 0) != 0;
  const auto spatial = static_cast<int64_t>(size.size()) - 2;
  const int64_t points = product(shape, 1, spatial + 1);
  const auto coordinate = [align](int64_t i, int64_t dim) {
    const auto n = static_cast<double>(dim);
    if (align) return dim == 1 ? -1.0 : -1 + 2 * static_cast<double>(i) / (n - 1);
    return -1 + (2 * static_cast<double>(i) + 1) / n;
  };
  for (int64_t p = 0; p < size[0] * points; ++p) {
    // Homogeneous coordinates, innermost dimension first.
    std::array<double, 4> at{};
    int64_t rest = p % points;
    for (int64_t d = 0; d < spatial; ++d) {
      const int64_t dim = size[static_cast<size_t>(spatial + 1 - d)];
      at[static_cast<size_t>(d)] = coordinate(rest % dim, dim);
      rest /= dim;
    }
    at[static_cast<size_t>(spatial)] = 1;
    for (int64_t row = 0; row < spatial; ++row) {
      double sum = 0;
      for (int64_t k = 0; k <= spatial; ++k)
        sum += theta.at((p / points * spatial + row) * (spatial + 1) + k) * at[static_cast<size_t>(k)];
      y->set(p * spatial + row, sum);
    }
  }
  return {};
}

constexpr std::array kOps{
    OpDecl{.name = "AffineGrid",
           .since = 20,
           .shape_inputs = 1U << 1,
           .infer = infer_affine_grid,
           .reference = affine_grid},
    OpDecl{.name = "GridSample", .since = 16, .infer = infer_grid_sample, .reference = grid_sample},
};

}  // namespace

Result<SampleRule> sample_rule(const Node& node) {
  SampleRule rule;
  rule.align_corners = node.attr_int("align_corners", 0) != 0;
  const std::string mode = node.attr_string("mode", "linear");
  const std::string padding = node.attr_string("padding_mode", "zeros");
  const auto fail = [&node](std::string what, std::string fix) {
    return Error{.code = Code::invalid_model,
                 .node = node.name,
                 .what = "GridSample: " + std::move(what),
                 .fix = std::move(fix)};
  };
  // Opset 16 called the modes bilinear and bicubic.
  if (mode == "nearest")
    rule.mode = Mode::nearest;
  else if (mode == "cubic" || mode == "bicubic")
    rule.mode = Mode::cubic;
  else if (mode != "linear" && mode != "bilinear")
    return fail(fmt::format("mode '{}' is not known", mode), "use nearest, linear or cubic");
  if (padding == "border")
    rule.padding = Padding::border;
  else if (padding == "reflection")
    rule.padding = Padding::reflection;
  else if (padding != "zeros")
    return fail(fmt::format("padding_mode '{}' is not known", padding), "use zeros, border or reflection");
  return rule;
}

AxisTaps axis_taps(const SampleRule& rule, double g, int64_t dim) {
  const auto n = static_cast<double>(dim);
  double x = rule.align_corners ? (g + 1) / 2 * (n - 1) : ((g + 1) * n - 1) / 2;
  // Anything this far out (and NaN) reads as padding; the limit keeps the conversion to integers defined.
  x = std::isnan(x) ? -1e9 : std::clamp(x, -1e9, 1e9);
  if (rule.mode == Mode::nearest) x = std::nearbyint(x);
  const double low = rule.align_corners ? 0 : -0.5;
  const double high = rule.align_corners ? n - 1 : n - 0.5;
  if (x < low || x > high) {
    if (rule.padding == Padding::border) x = std::clamp(x, 0.0, n - 1);
    if (rule.padding == Padding::reflection) x = reflect(x, low, high);
  }
  if (rule.mode == Mode::nearest) return {{padded_index(rule, static_cast<int64_t>(x), dim)}, {1}};
  const double floor = std::floor(x);
  const auto base = static_cast<int64_t>(floor);
  const double t = x - floor;
  if (rule.mode == Mode::linear)
    return {{padded_index(rule, base, dim), padded_index(rule, base + 1, dim)}, {1 - t, t}};
  // Cubic convolution (Keys 1981) with a = -0.75.
  constexpr double a = -0.75;
  const auto near = [](double d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };
  const auto far = [](double d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };
  return {{padded_index(rule, base - 1, dim), padded_index(rule, base, dim), padded_index(rule, base + 1, dim),
           padded_index(rule, base + 2, dim)},
          {far(t + 1), near(t), near(1 - t), far(2 - t)}};
}

std::span<const OpDecl> grid_sample_ops() { return kOps; }

}  // namespace planish
