#include "planish/ops/conv_geometry.h"

#include <fmt/format.h>

#include <algorithm>

namespace planish {
namespace {

/// Bound on attribute values, so that products of a few of them cannot overflow.
constexpr int64_t kMaxValue = int64_t{1} << 30;

Error window_error(const Node& node, Code code, std::string what, std::string fix = {}) {
  return Error{.code = code, .node = node.name, .what = fmt::format("{}: {}", node.op, what), .fix = std::move(fix)};
}

/// Attribute `key` with one positive value per axis; all ones when absent.
Result<std::vector<int64_t>> per_axis(const Node& node, const std::string& key, size_t axes) {
  std::vector<int64_t> v = node.attr_ints(key);
  if (v.empty()) v.assign(axes, 1);
  if (v.size() != axes)
    return window_error(node, Code::invalid_model,
                        fmt::format("attribute {} has {} values for {} spatial axes", key, v.size(), axes));
  for (const int64_t x : v)
    if (x < 1 || x > kMaxValue)
      return window_error(node, Code::invalid_model, fmt::format("attribute {} has the value {}", key, x));
  return v;
}

Status read_pads(const Node& node, WindowGeometry& g) {
  const size_t axes = g.axes();
  g.pads_begin.assign(axes, 0);
  g.pads_end.assign(axes, 0);
  const std::vector<int64_t> pads = node.attr_ints("pads");
  if (pads.empty()) return {};
  if (pads.size() != 2 * axes)
    return window_error(node, Code::invalid_model,
                        fmt::format("attribute pads has {} values, {} are needed", pads.size(), 2 * axes));
  for (size_t a = 0; a < axes; ++a) {
    g.pads_begin[a] = pads[a];
    g.pads_end[a] = pads[axes + a];
    if (std::max(std::abs(pads[a]), std::abs(pads[axes + a])) > kMaxValue)
      return window_error(node, Code::invalid_model, "attribute pads is out of range");
  }
  return {};
}

int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b > 0 ? 1 : 0); }

/// Output size along one axis under explicit padding.
int64_t padded_output(const WindowGeometry& g, size_t a, bool ceil_mode) {
  const int64_t span = g.in[a] + g.pads_begin[a] + g.pads_end[a] - g.extent(a);
  if (span < 0) return 0;
  if (!ceil_mode) return span / g.strides[a] + 1;
  int64_t out = ceil_div(span, g.strides[a]) + 1;
  // A window that starts behind the input and its left padding would see padding only.
  if ((out - 1) * g.strides[a] >= g.in[a] + g.pads_begin[a]) --out;
  return out;
}

/// Splits `total` as auto_pad asks: the odd element goes to the end for SAME_UPPER.
void split_padding(WindowGeometry& g, size_t a, int64_t total, bool upper) {
  total = std::max<int64_t>(total, 0);
  g.pads_begin[a] = upper ? total / 2 : total - total / 2;
  g.pads_end[a] = total - g.pads_begin[a];
}

Result<std::vector<int64_t>> read_kernel(const Node& node, std::span<const int64_t> fallback, size_t axes) {
  std::vector<int64_t> kernel = node.attr_ints("kernel_shape");
  if (kernel.empty()) kernel.assign(fallback.begin(), fallback.end());
  if (kernel.size() != axes)
    return window_error(node, Code::invalid_model,
                        fmt::format("the kernel has {} axes, the input {} spatial ones", kernel.size(), axes));
  for (size_t a = 0; a < axes; ++a)
    if (kernel[a] < 1 || kernel[a] > kMaxValue)
      return window_error(node, Code::invalid_model, fmt::format("the kernel has the dimension {}", kernel[a]));
  return kernel;
}

/// Channel and group checks that both convolutions share. `c_of_w` is what the weight says about C.
Status check_channels(const Node& node, const ConvShape& s, int64_t c_of_w) {
  if (s.groups < 1) return window_error(node, Code::invalid_model, fmt::format("attribute group is {}", s.groups));
  if (s.c >= 0 && c_of_w >= 0 && s.c != c_of_w)
    return window_error(node, Code::shape_mismatch,
                        fmt::format("the weight is for C={}, the input has C={}", c_of_w, s.c),
                        "check the exported model's channel count, or pass the right input shape");
  if ((s.c >= 0 && s.c % s.groups != 0) || (s.k >= 0 && s.k % s.groups != 0))
    return window_error(
        node, Code::invalid_model,
        fmt::format("{} input and {} output channels do not divide into {} groups", s.c, s.k, s.groups));
  return {};
}

/// Largest dimension and kernel value checks for shapes that come from tensors.
Status check_ranks(const Node& node, const Shape& x, const Shape& w) {
  if (x.size() < 3 || x.size() != w.size())
    return window_error(
        node, Code::shape_mismatch,
        fmt::format("input {} and weight {} must have the same rank, at least 3", to_string(x), to_string(w)));
  return {};
}

/// The weight's taps. Weights that are computed while the model runs may have unknown ones; kernel_shape says them
/// where it is given.
std::vector<int64_t> weight_taps(const Node& node, const Shape& w) {
  std::vector<int64_t> taps(w.begin() + 2, w.end());
  const std::vector<int64_t> kernel = node.attr_ints("kernel_shape");
  for (size_t a = 0; a < taps.size(); ++a)
    if (taps[a] < 0 && kernel.size() == taps.size()) taps[a] = kernel[a];
  return taps;
}

/// A window about which nothing is known but the number of its axes.
WindowGeometry unknown_window(size_t axes) {
  const std::vector<int64_t> unknown(axes, kUnknownDim);
  return {.in = unknown, .out = unknown, .kernel = unknown};
}

}  // namespace

int64_t WindowGeometry::taps() const { return element_count(kernel); }

WindowGeometry::Range WindowGeometry::valid_outputs(size_t axis, int64_t r) const {
  // p * stride + shift must lie in [0, in).
  const int64_t shift = r * dilations[axis] - pads_begin[axis];
  const int64_t stride = strides[axis];
  const int64_t begin = shift >= 0 ? 0 : ceil_div(-shift, stride);
  const int64_t end = in[axis] - shift <= 0 ? 0 : ceil_div(in[axis] - shift, stride);
  Range range{std::min(begin, out[axis]), std::min(end, out[axis])};
  range.end = std::max(range.begin, range.end);
  return range;
}

Result<WindowGeometry> resolve_window(const Node& node, std::span<const int64_t> spatial,
                                      std::span<const int64_t> default_kernel) {
  WindowGeometry g;
  const size_t axes = spatial.size();
  g.in.assign(spatial.begin(), spatial.end());
  g.kernel = PLANISH_TRY(read_kernel(node, default_kernel, axes));
  g.strides = PLANISH_TRY(per_axis(node, "strides", axes));
  g.dilations = PLANISH_TRY(per_axis(node, "dilations", axes));
  PLANISH_TRY(read_pads(node, g));
  const std::string auto_pad = node.attr_string("auto_pad", "NOTSET");
  const bool ceil_mode = node.attr_int("ceil_mode", 0) != 0;
  const bool same = auto_pad == "SAME_UPPER" || auto_pad == "SAME_LOWER";
  if (!same && auto_pad != "VALID" && auto_pad != "NOTSET" && !auto_pad.empty())
    return window_error(node, Code::invalid_model, fmt::format("auto_pad is '{}'", auto_pad),
                        "use NOTSET, VALID, SAME_UPPER or SAME_LOWER");
  g.out.assign(axes, kUnknownDim);
  for (size_t a = 0; a < axes; ++a) {
    if (same || auto_pad == "VALID") g.pads_begin[a] = g.pads_end[a] = 0;
    if (g.in[a] < 0) continue;
    if (same) {
      g.out[a] = ceil_div(g.in[a], g.strides[a]);
      split_padding(g, a, (g.out[a] - 1) * g.strides[a] + g.extent(a) - g.in[a], auto_pad == "SAME_UPPER");
    } else {
      g.out[a] = padded_output(g, a, ceil_mode);
    }
    if (g.out[a] < 1)
      return window_error(node, Code::shape_mismatch,
                          fmt::format("a window of {} does not fit into spatial axis {} of size {} with padding {}+{}",
                                      g.extent(a), a, g.in[a], g.pads_begin[a], g.pads_end[a]),
                          "use a larger input");
  }
  return g;
}

Shape ConvShape::output() const {
  Shape y{n, k};
  y.insert(y.end(), window.out.begin(), window.out.end());
  return y;
}

Result<ConvShape> resolve_conv(const Node& node, const Shape& x, const Shape& w) {
  PLANISH_TRY(check_ranks(node, x, w));
  ConvShape s{.n = x[0], .c = x[1], .k = w[0], .groups = node.attr_int("group", 1)};
  PLANISH_TRY(check_channels(node, s, s.groups < 1 ? kUnknownDim : dim_mul(w[1], s.groups)));
  const std::vector<int64_t> kernel = weight_taps(node, w);
  if (!is_static(kernel)) {
    s.window = unknown_window(kernel.size());
    return s;
  }
  s.window = PLANISH_TRY(resolve_window(node, std::span(x).subspan(2), kernel));
  if (!std::ranges::equal(s.window.kernel, kernel))
    return window_error(node, Code::shape_mismatch,
                        fmt::format("kernel_shape is {}, the weight {}", to_string(s.window.kernel), to_string(w)));
  return s;
}

bool is_one_pixel_conv(const Node& node, const Shape& x, const Shape& w) {
  const auto conv = resolve_conv(node, x, w);
  if (!conv.ok() || conv->groups != 1) return false;
  const WindowGeometry& g = conv->window;
  const auto all = [](const std::vector<int64_t>& v, int64_t n) {
    return std::ranges::all_of(v, [n](int64_t i) { return i == n; });
  };
  // Padding on one side and a crop on the other keep the size.
  return all(g.kernel, 1) && all(g.strides, 1) && all(g.pads_begin, 0) && all(g.pads_end, 0) && g.in == g.out;
}

Result<ConvShape> resolve_conv_transpose(const Node& node, const Shape& x, const Shape& w) {
  PLANISH_TRY(check_ranks(node, x, w));
  ConvShape s{.n = x[0], .c = x[1], .groups = node.attr_int("group", 1)};
  if (s.groups < 1) return window_error(node, Code::invalid_model, fmt::format("attribute group is {}", s.groups));
  s.k = dim_mul(w[1], s.groups);
  PLANISH_TRY(check_channels(node, s, w[0]));
  const size_t axes = x.size() - 2;
  const std::vector<int64_t> kernel = weight_taps(node, w);
  WindowGeometry& g = s.window;
  if (!is_static(kernel)) {
    g = unknown_window(axes);
    return s;
  }
  g.kernel = PLANISH_TRY(read_kernel(node, kernel, axes));
  if (!std::ranges::equal(g.kernel, kernel))
    return window_error(node, Code::shape_mismatch,
                        fmt::format("kernel_shape is {}, the weight {}", to_string(g.kernel), to_string(w)));
  g.strides = PLANISH_TRY(per_axis(node, "strides", axes));
  g.dilations = PLANISH_TRY(per_axis(node, "dilations", axes));
  PLANISH_TRY(read_pads(node, g));
  g.out.assign(x.begin() + 2, x.end());
  std::vector<int64_t> extra = node.attr_ints("output_padding");
  if (extra.empty()) extra.assign(axes, 0);
  std::vector<int64_t> wanted = node.attr_ints("output_shape");
  if (wanted.size() == axes + 2) wanted.erase(wanted.begin(), wanted.begin() + 2);  // some exporters add N and C
  if (extra.size() != axes || (!wanted.empty() && wanted.size() != axes))
    return window_error(node, Code::invalid_model, "output_padding or output_shape has the wrong length");
  const std::string auto_pad = node.attr_string("auto_pad", "NOTSET");
  const bool upper = auto_pad == "SAME_UPPER";
  const bool same = upper || auto_pad == "SAME_LOWER";
  g.in.assign(axes, kUnknownDim);
  for (size_t a = 0; a < axes; ++a) {
    if (extra[a] < 0 || extra[a] > kMaxValue)
      return window_error(node, Code::invalid_model, fmt::format("output_padding is {}", extra[a]));
    if (auto_pad == "VALID") g.pads_begin[a] = g.pads_end[a] = 0;
    if (!wanted.empty()) g.in[a] = wanted[a];
    if (g.out[a] < 0) continue;
    if (g.out[a] < 1 || g.out[a] > kMaxValue)
      return window_error(node, Code::shape_mismatch, fmt::format("the input has shape {}", to_string(x)));
    const int64_t full = g.strides[a] * (g.out[a] - 1) + extra[a] + g.extent(a);
    if (same && wanted.empty()) g.in[a] = g.out[a] * g.strides[a];
    if (same || !wanted.empty())
      split_padding(g, a, full - g.in[a], upper);
    else
      g.in[a] = full - g.pads_begin[a] - g.pads_end[a];
    if (g.in[a] < 1)
      return window_error(node, Code::shape_mismatch,
                          fmt::format("spatial output axis {} would have the size {}", a, g.in[a]));
  }
  return s;
}

}  // namespace planish
