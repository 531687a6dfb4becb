#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "planish/api/data.h"
#include "planish/tools/polygraphy/logger.h"

namespace planish::tools {

/// Elements of a tensor as NumPy would compute with them after Polygraphy's widening (f16 to f32, small integers to
/// i32): values, the type that results are rounded to, and the shape that positions are told in.
struct Values {
  std::vector<double> elements;
  DType dtype = DType::f32;
  Shape shape;
};
Values widened(const Tensor& tensor);
/// The values as a tensor of their type, for printing.
Tensor tensor_of(const Values& values);

/// Figures of a tensor. A NaN among the values makes all of them NaN. All 0 for no elements.
struct ArrayStats {
  double mean = 0, std_dev = 0, variance = 0, median = 0;
  double min = 0, max = 0, average_magnitude = 0;
  double p90 = 0, p95 = 0, p99 = 0;
  int64_t min_at = 0, max_at = 0;  ///< first row-major positions
};
ArrayStats stats_of(const Values& values);
double mean_of(const Values& values);
double median_of(const Values& values);
/// Linear interpolation between the two nearest, q in [0, 1].
double quantile_of(const Values& values, double q);

/// "mean=0.5, std-dev=..., p99=0.98"
std::string stats_text(const Values& values);

/// Ten bins between `range`'s ends (the values' own without one) with bars of up to 40 #; "" when there is none: no
/// elements, or ends that are not finite. Ends with a line break.
std::string histogram_text(const Values& values, std::optional<std::pair<double, double>> range = std::nullopt);

/// Polygraphy's "label | Stats: ..." line and below it, as information when `failed` and else as verbose output, the
/// values of small tensors and the histogram. An empty label gives the figures alone.
void log_stats(PolygraphyLog& log, const Values& values, bool failed, const std::string& label,
               std::optional<std::pair<double, double>> range = std::nullopt);

/// "{a [dtype=float32, shape=(1, 10)],\n b [...]}"
std::string tensors_text(const NamedTensors& tensors);

/// A number in C's %.5g.
std::string five_digits(double value);

}  // namespace planish::tools
