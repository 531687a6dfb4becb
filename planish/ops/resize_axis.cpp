#include "planish/ops/resize_axis.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace planish {
namespace {

Error unknown(const std::string& attribute, const std::string& value) {
  return Error{.code = Code::invalid_model, .what = attribute + " '" + value + "' is not known"};
}

/// Input coordinate of output element `i`; nullopt for an unknown transformation.
std::optional<double> source_coordinate(const ResizeRule& rule, double i, double in, double out, double scale,
                                        double roi_start, double roi_end) {
  const double length = scale * in;  // may be fractional when the user gave the scale
  if (rule.transform == "half_pixel") return (i + 0.5) / scale - 0.5;
  if (rule.transform == "asymmetric") return i / scale;
  if (rule.transform == "align_corners") return length == 1 ? 0 : i * (in - 1) / (length - 1);
  if (rule.transform == "pytorch_half_pixel") return out > 1 ? (i + 0.5) / scale - 0.5 : 0;
  if (rule.transform == "half_pixel_symmetric") {
    const double offset = in / 2 * (1 - out / length);
    return offset + (i + 0.5) / scale - 0.5;
  }
  if (rule.transform == "tf_crop_and_resize") {
    if (out <= 1) return 0.5 * (roi_start + roi_end) * (in - 1);
    return roi_start * (in - 1) + i * (roi_end - roi_start) * (in - 1) / (out - 1);
  }
  return std::nullopt;
}

std::optional<double> round_nearest(const std::string& mode, double x) {
  if (mode == "round_prefer_floor") return std::ceil(x - 0.5);
  if (mode == "round_prefer_ceil") return std::floor(x + 0.5);
  if (mode == "floor") return std::floor(x);
  if (mode == "ceil") return std::ceil(x);
  return std::nullopt;
}

/// Keys' cubic convolution kernel. Source: Keys 1981, "Cubic convolution interpolation for digital image processing",
/// equation 4.
double cubic_kernel(double distance, double a) {
  const double x = std::abs(distance);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return 0;
}

double kernel(const ResizeRule& rule, double distance) {
  if (rule.mode == "linear") return std::max(0.0, 1 - std::abs(distance));
  return cubic_kernel(distance, rule.cubic_coeff_a);
}

}  // namespace

Result<ResizeAxis> resize_axis(const ResizeRule& rule, int64_t in, int64_t out, double scale, double roi_start,
                               double roi_end) {
  if (rule.mode != "nearest" && rule.mode != "linear" && rule.mode != "cubic") return unknown("mode", rule.mode);
  const bool nearest = rule.mode == "nearest";
  // Antialiasing stretches the kernel over the input elements that fall into one output element.
  const double stretch = rule.antialias && !nearest ? std::min(scale, 1.0) : 1.0;
  const double radius = (rule.mode == "cubic" ? 2 : 1) / stretch;
  if (!(radius < 1e6)) return Error{.code = Code::invalid_model, .what = "the scale is too small for antialiasing"};
  const auto first = static_cast<int64_t>(std::floor(-radius)) + 1;
  ResizeAxis axis{.in = in, .taps = nearest ? 1 : 2 - 2 * first, .index = {}, .weight = {}, .outside = {}};
  for (int64_t i = 0; i < out; ++i) {
    const auto at = source_coordinate(rule, static_cast<double>(i), static_cast<double>(in), static_cast<double>(out),
                                      scale, roi_start, roi_end);
    if (!at) return unknown("coordinate_transformation_mode", rule.transform);
    if (!std::isfinite(*at) || std::abs(*at) > 1e15)
      return Error{.code = Code::invalid_model, .what = "a coordinate is out of range"};
    const bool crop = rule.transform == "tf_crop_and_resize";
    axis.outside.push_back(crop && (*at < 0 || *at > static_cast<double>(in - 1)) ? 1 : 0);
    if (nearest) {
      const auto x = round_nearest(rule.nearest_mode, *at);
      if (!x) return unknown("nearest_mode", rule.nearest_mode);
      axis.index.push_back(std::clamp<int64_t>(static_cast<int64_t>(*x), 0, in - 1));
      axis.weight.push_back(1);
      continue;
    }
    // An element exactly on the coordinate counts as the right neighbour at distance 0, ratio is in (0, 1].
    const auto base = static_cast<int64_t>(std::ceil(*at)) - 1;
    const double ratio = *at - static_cast<double>(base);
    double sum = 0;
    for (int64_t t = 0; t < axis.taps; ++t) {
      const int64_t k = base + first + t;
      double w = kernel(rule, (static_cast<double>(first + t) - ratio) * stretch);
      if (rule.exclude_outside && (k < 0 || k >= in)) w = 0;
      sum += w;
      axis.index.push_back(std::clamp<int64_t>(k, 0, in - 1));
      axis.weight.push_back(w);
    }
    if (sum != 0)
      for (auto w = axis.weight.end() - axis.taps; w != axis.weight.end(); ++w) *w /= sum;
  }
  return axis;
}

}  // namespace planish
