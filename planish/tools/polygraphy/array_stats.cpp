#include "planish/tools/polygraphy/array_stats.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "planish/tools/polygraphy/model_text.h"
#include "planish/tools/polygraphy/numpy_text.h"

namespace planish::tools {
namespace {

constexpr size_t kBins = 10;

DType widened_type(DType dtype) {
  switch (dtype) {
    case DType::f64:
    case DType::i64:
    case DType::u64:
    case DType::boolean: return dtype;
    case DType::u32: return DType::i64;
    case DType::i8:
    case DType::u8:
    case DType::i16:
    case DType::u16:
    case DType::i32: return DType::i32;
    default: return DType::f32;
  }
}

std::string position_text(const Shape& shape, int64_t at) {
  std::vector<int64_t> index(shape.size());
  for (size_t i = shape.size(); i-- > 0;) {
    index[i] = shape[i] > 0 ? at % shape[i] : 0;
    at /= std::max<int64_t>(shape[i], 1);
  }
  return python_tuple(index);
}

bool has_nan(const Values& v) {
  return std::any_of(v.elements.begin(), v.elements.end(), [](double x) { return std::isnan(x); });
}

/// One of the quantiles of elements that hold no NaN, which are reordered. As numpy.quantile: the place in FP64, the
/// value between its two neighbours in the array's own arithmetic.
template <typename Float>
double quantile_as(std::vector<double>& elements, double q) {
  const double at = static_cast<double>(elements.size() - 1) * q;
  const size_t low = std::min(static_cast<size_t>(at), elements.size() - 1);
  const auto part = static_cast<Float>(at - std::floor(at));
  const auto nth = elements.begin() + static_cast<std::ptrdiff_t>(low);
  std::nth_element(elements.begin(), nth, elements.end());
  if (part == 0 || low + 1 == elements.size()) return *nth;
  const auto below = static_cast<Float>(*nth);
  const auto above = static_cast<Float>(*std::min_element(nth + 1, elements.end()));
  const Float step = above - below;
  return part < Float{0.5} ? below + step * part : above - step * (1 - part);
}

double quantile(std::vector<double>& elements, double q, DType dtype) {
  return dtype == DType::f32 ? quantile_as<float>(elements, q) : quantile_as<double>(elements, q);
}

/// Bins in the arithmetic of numpy.histogram, which works in the array's own type.
template <typename Float>
std::array<int64_t, kBins> count_bins(const std::vector<double>& elements, Float low, Float high,
                                      std::array<double, kBins + 1>& edges) {
  for (size_t i = 0; i <= kBins; ++i)
    edges[i] = static_cast<Float>(low + static_cast<Float>(i) * ((high - low) / static_cast<Float>(kBins)));
  edges[kBins] = high;
  std::array<int64_t, kBins> counts{};
  for (const double value : elements) {
    const auto x = static_cast<Float>(value);
    if (!(x >= low && x <= high)) continue;
    auto bin = static_cast<size_t>((x - low) / (high - low) * static_cast<Float>(kBins));
    if (bin >= kBins) bin = kBins - 1;
    if (static_cast<double>(x) < edges[bin] && bin > 0) --bin;
    if (bin + 1 < kBins && static_cast<double>(x) >= edges[bin + 1]) ++bin;
    ++counts[bin];
  }
  return counts;
}

}  // namespace

Values widened(const Tensor& tensor) {
  Values v{.elements = std::vector<double>(static_cast<size_t>(tensor.size())),
           .dtype = widened_type(tensor.dtype()),
           .shape = tensor.shape()};
  if (tensor.dtype() == DType::f32)
    std::copy_n(tensor.data<float>(), v.elements.size(), v.elements.begin());
  else
    for (int64_t i = 0; i < tensor.size(); ++i) v.elements[static_cast<size_t>(i)] = tensor.at(i);
  return v;
}

Tensor tensor_of(const Values& values) {
  Tensor t(values.dtype, values.shape);
  for (int64_t i = 0; i < t.size(); ++i) t.set(i, values.elements[static_cast<size_t>(i)]);
  return t;
}

double mean_of(const Values& values) {
  double sum = 0;
  for (const double x : values.elements) sum += x;
  return values.elements.empty() ? NAN : sum / static_cast<double>(values.elements.size());
}

double median_of(const Values& values) {
  if (values.elements.empty()) return 0;
  if (has_nan(values)) return NAN;
  std::vector<double> copy = values.elements;
  return quantile(copy, 0.5, values.dtype);
}

double quantile_of(const Values& values, double q) {
  if (values.elements.empty() || has_nan(values)) return NAN;
  std::vector<double> copy = values.elements;
  return quantile(copy, std::clamp(q, 0.0, 1.0), values.dtype);
}

ArrayStats stats_of(const Values& values) {
  ArrayStats s;
  const auto& e = values.elements;
  s.mean = mean_of(values);
  if (e.empty()) return s;
  const auto count = static_cast<double>(e.size());
  double magnitude = 0, squares = 0;
  for (const double x : e) {
    magnitude += std::abs(x);
    squares += (x - s.mean) * (x - s.mean);
  }
  s.average_magnitude = magnitude / count;
  s.variance = squares / count;
  s.std_dev = std::sqrt(s.variance);
  const auto nan = std::find_if(e.begin(), e.end(), [](double x) { return std::isnan(x); });
  if (nan != e.end()) {
    s.min_at = s.max_at = nan - e.begin();
    s.min = s.max = s.median = s.p90 = s.p95 = s.p99 = NAN;
    return s;
  }
  const auto [low, high] = std::minmax_element(e.begin(), e.end());
  s.min = *low;
  s.max = *high;
  s.min_at = low - e.begin();
  // Of equal largest elements minmax_element gives the last one, numpy the first.
  s.max_at = std::find(e.begin(), e.end(), s.max) - e.begin();
  std::vector<double> copy = e;
  s.median = quantile(copy, 0.5, values.dtype);
  s.p90 = quantile(copy, 0.9, values.dtype);
  s.p95 = quantile(copy, 0.95, values.dtype);
  s.p99 = quantile(copy, 0.99, values.dtype);
  return s;
}

std::string five_digits(double value) {
  if (std::isnan(value)) return "nan";
  return fmt::format("{:.5g}", value);
}

std::string stats_text(const Values& values) {
  const ArrayStats s = stats_of(values);
  std::string out =
      fmt::format("mean={}, std-dev={}, var={}, median={}, min={} at {}, max={} at {}, avg-magnitude={}",
                  five_digits(s.mean), five_digits(s.std_dev), five_digits(s.variance), five_digits(s.median),
                  five_digits(s.min), position_text(values.shape, s.min_at), five_digits(s.max),
                  position_text(values.shape, s.max_at), five_digits(s.average_magnitude));
  if (values.dtype == DType::boolean) return out;
  return out + fmt::format(", p90={}, p95={}, p99={}", five_digits(s.p90), five_digits(s.p95), five_digits(s.p99));
}

std::string histogram_text(const Values& values, std::optional<std::pair<double, double>> range) {
  if (values.elements.empty() || values.dtype == DType::boolean) return "";
  if (!range) {
    if (has_nan(values)) return "";
    const auto [low, high] = std::minmax_element(values.elements.begin(), values.elements.end());
    range = {*low, *high};
  }
  auto [low, high] = *range;
  if (!std::isfinite(low) || !std::isfinite(high)) return "";
  if (low == high) {
    low -= 0.5;
    high += 0.5;
  }
  std::array<double, kBins + 1> edges{};
  const auto counts = values.dtype == DType::f32
                          ? count_bins(values.elements, static_cast<float>(low), static_cast<float>(high), edges)
                          : count_bins(values.elements, low, high, edges);
  const int64_t most = *std::max_element(counts.begin(), counts.end());
  if (most == 0) return "";
  std::array<std::string, kBins + 1> texts;
  size_t start_width = 0, end_width = 0;
  for (size_t i = 0; i <= kBins; ++i) {
    texts[i] = fmt::format("{:.3g}", edges[i]);
    start_width = std::max(start_width, texts[i].size());
    if (i > 0) end_width = std::max(end_width, texts[i].size());
  }
  constexpr int64_t kBarWidth = 40;
  std::string out = fmt::format("---- Histogram ----\n{:<{}}|  Num Elems | Visualization\n", "Bin Range",
                                start_width + end_width + 5);
  for (size_t i = 0; i < kBins; ++i)
    out += fmt::format("({:<{}}, {:<{}}) | {:>10} | {}\n", texts[i], start_width, texts[i + 1], end_width, counts[i],
                       std::string(static_cast<size_t>(kBarWidth * counts[i] / most), '#'));
  return out;
}

void log_stats(PolygraphyLog& log, const Values& values, bool failed, const std::string& label,
               std::optional<std::pair<double, double>> range) {
  constexpr size_t kSmall = 100;  // elements; such tensors are shown whole
  log.print(PolygraphyLog::info, (label.empty() ? "" : label + " | Stats: ") + stats_text(values));
  const PolygraphyLog::Severity severity = failed ? PolygraphyLog::info : PolygraphyLog::verbose;
  if (!log.shows(severity)) return;
  const LogIndent indent(log);
  if (values.elements.size() <= kSmall)
    log.print(severity, "---- Values ----\n" + indented(numpy_text(tensor_of(values))));
  std::string histogram = histogram_text(values, range);
  if (histogram.empty()) return;
  histogram.pop_back();
  log.print(severity, histogram);
}

std::string tensors_text(const NamedTensors& tensors) {
  std::vector<TensorLine> lines;
  for (const auto& [name, tensor] : tensors)
    lines.push_back(
        {name, fmt::format("[dtype={}, shape={}]", dtype_numpy_name(tensor.dtype()), python_tuple(tensor.shape()))});
  return tensor_set(lines);
}

}  // namespace planish::tools
