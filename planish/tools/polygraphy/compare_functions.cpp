#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "planish/tools/polygraphy/compare.h"
#include "planish/tools/polygraphy/numpy_text.h"

namespace planish::tools {
namespace {

constexpr double kDefaultTolerance = 1e-5;

/// A scalar that an output is judged by.
struct MetricRow {
  CompareFunction function;
  std::string_view label, field, unit, threshold_class, result_class;
  double default_threshold;
  bool higher_is_better;
};
constexpr MetricRow kMetrics[] = {
    {CompareFunction::l2, "L2 Norm", "l2_norm", "", "L2Threshold", "L2Result", 1e-5, false},
    {CompareFunction::cosine_similarity, "Cosine Similarity", "cosine_similarity", "", "CosineSimilarityThreshold",
     "CosineSimilarityResult", 0.997, true},
    {CompareFunction::psnr, "PSNR", "psnr", " dB", "PsnrThreshold", "PsnrResult", 30, true},
    {CompareFunction::snr, "SNR", "snr", " dB", "SnrThreshold", "SnrResult", 20, true},
};

const MetricRow* find_metric(CompareFunction function) {
  for (const MetricRow& row : kMetrics)
    if (row.function == function) return &row;
  return nullptr;
}

/// The type that numpy computes in for operands of these types.
DType common_type(DType a, DType b) {
  if (a == b) return a;
  return DType::f64;
}

double rounded(DType dtype, double value) { return dtype == DType::f32 ? static_cast<float>(value) : value; }

Values absolute_difference(const Values& a, const Values& b, bool infinities_equal) {
  Values out{.elements = a.elements, .dtype = common_type(a.dtype, b.dtype), .shape = a.shape};
  for (size_t i = 0; i < out.elements.size(); ++i) {
    const bool same_infinity = std::isinf(a.elements[i]) && a.elements[i] == b.elements[i];
    out.elements[i] =
        infinities_equal && same_infinity ? 0 : rounded(out.dtype, std::abs(a.elements[i] - b.elements[i]));
  }
  return out;
}

/// |a - b| / |b|; zeros of floating-point b count as the double's epsilon, so that the quotient stays a number.
Values relative_difference(const Values& difference, const Values& b) {
  const bool is_float = dtype_is_float(b.dtype);
  Values out{.elements = difference.elements,
             .dtype = is_float ? common_type(difference.dtype, b.dtype) : DType::f64,
             .shape = difference.shape};
  for (size_t i = 0; i < out.elements.size(); ++i) {
    double base = std::abs(b.elements[i]);
    if (is_float && base == 0) base = std::numeric_limits<double>::epsilon();
    out.elements[i] = rounded(out.dtype, out.elements[i] / base);
  }
  return out;
}

struct Statistics {
  double max = 0, mean = 0, median = 0;
  std::optional<double> quantile;

  [[nodiscard]] double value(const std::string& stat) const {
    if (stat == "mean") return mean;
    if (stat == "median") return median;
    if (stat == "quantile") return quantile.value_or(NAN);
    return max;
  }
};

Statistics statistics_of(const Values& values, const std::string& stat, double quantile) {
  const ArrayStats s = stats_of(values);
  Statistics out{.max = s.max, .mean = s.mean, .median = s.median};
  if (stat == "quantile") out.quantile = quantile_of(values, quantile);
  return out;
}

/// NaN fails.
bool exceeds(double value, double tolerance) { return std::isnan(value) || value > tolerance; }

OutputVerdict compare_simple(PolygraphyLog& log, const CompareOptions& options, const OutputPair& pair) {
  OutputVerdict v{.output = pair.name, .other_output = pair.second_name};
  v.atol = number_for(options.atol, pair.name, kDefaultTolerance);
  v.rtol = number_for(options.rtol, pair.name, kDefaultTolerance);
  const double quantile = number_for(options.quantile, pair.name, 0.99);
  v.error_stat = "elemwise";
  for (const std::string& key : {std::string(), pair.name})
    if (const auto it = options.error_stat.find(key); it != options.error_stat.end()) v.error_stat = it->second;
  log.print(PolygraphyLog::info, fmt::format("Tolerance: [abs={}, rel={}] | Checking {} error", five_digits(v.atol),
                                             five_digits(v.rtol), v.error_stat));
  const Values a = widened(pair.first);
  const Values b = widened(pair.second);
  if (dtype_is_float(b.dtype) && std::find(b.elements.begin(), b.elements.end(), 0.0) != b.elements.end())
    log.print_once(PolygraphyLog::warning,
                   fmt::format("{:35} | Output: {}: Some values are 0. Will add a small epsilon quantity to these when "
                               "computing relative difference. Note that this may cause some relative differences to "
                               "be extremely high. ",
                               pair.second_runner, pair.second_name));
  const Values absolute = absolute_difference(a, b, options.infinities_compare_equal);
  const Values relative = relative_difference(absolute, b);
  const Statistics of_absolute = statistics_of(absolute, v.error_stat, quantile);
  const Statistics of_relative = statistics_of(relative, v.error_stat, quantile);
  if (v.error_stat == "elemwise") {
    v.passed = true;
    for (size_t i = 0; i < absolute.elements.size() && v.passed; ++i)
      v.passed = !(exceeds(absolute.elements[i], v.atol) && exceeds(relative.elements[i], v.rtol));
  } else {
    v.passed = !(exceeds(of_absolute.value(v.error_stat), v.atol) && exceeds(of_relative.value(v.error_stat), v.rtol));
  }
  v.metrics = {{"max_absdiff", of_absolute.max},           {"max_reldiff", of_relative.max},
               {"mean_absdiff", of_absolute.mean},         {"mean_reldiff", of_relative.mean},
               {"median_absdiff", of_absolute.median},     {"median_reldiff", of_relative.median},
               {"quantile_absdiff", of_absolute.quantile}, {"quantile_reldiff", of_relative.quantile}};
  log.print(PolygraphyLog::info, "Error Metrics: " + pair.name);
  {
    const LogIndent indent(log);
    std::string required =
        fmt::format("Minimum Required Tolerance: {} error | [abs={}] OR [rel={}]", v.error_stat,
                    five_digits(of_absolute.value(v.error_stat)), five_digits(of_relative.value(v.error_stat)));
    if (v.error_stat == "elemwise") required += " (requirements may be lower if both abs/rel tolerances are set)";
    if (v.error_stat == "quantile") required += fmt::format(" (quantile={:.4g})", quantile);
    log.print(PolygraphyLog::info, required);
    log_stats(log, absolute, !v.passed, "Absolute Difference");
    log_stats(log, relative, !v.passed, "Relative Difference");
  }
  log.print(v.passed ? PolygraphyLog::finish : PolygraphyLog::error,
            fmt::format("{} | Output: '{}' | Difference {} tolerance (rel={}, abs={})", v.passed ? "PASSED" : "FAILED",
                        pair.name, v.passed ? "is within" : "exceeds", python_float(v.rtol), python_float(v.atol)));
  return v;
}

double metric_value(CompareFunction function, const Values& a, const Values& b) {
  double noise = 0, signal = 0, second = 0, product = 0;
  for (size_t i = 0; i < a.elements.size(); ++i) {
    const double x = a.elements[i], y = b.elements[i];
    noise += (x - y) * (x - y);
    signal += x * x;
    second += y * y;
    product += x * y;
  }
  const double count = std::max<double>(static_cast<double>(a.elements.size()), 1);
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  switch (function) {
    case CompareFunction::l2: return std::sqrt(noise);
    case CompareFunction::cosine_similarity: {
      if (signal == 0 && second == 0) return 1;
      if (signal == 0 || second == 0) return 0;
      const double similarity = product / (std::sqrt(signal) * std::sqrt(second));
      return std::isnan(similarity) ? similarity : std::clamp(similarity, -1.0, 1.0);
    }
    case CompareFunction::psnr: {
      if (noise == 0) return kInfinity;
      const double peak = stats_of(a).max;
      return 20 * std::log10(peak > 0 ? peak : 1.0) - 10 * std::log10(noise / count);
    }
    default: return noise == 0 ? kInfinity : signal == 0 ? -kInfinity : 10 * std::log10(signal / noise);
  }
}

/// Positions of top-K values may be off by the tolerance; the last `tolerance` of the first output are not compared.
OutputVerdict compare_indices(PolygraphyLog& log, const CompareOptions& options, const OutputPair& pair) {
  OutputVerdict v{.output = pair.name, .other_output = pair.second_name, .passed = true};
  const auto tolerance = static_cast<int64_t>(number_for(options.index_tolerance, pair.name, 0));
  const int64_t length = pair.first.rank() > 0 ? pair.first.dim(-1) : 1;
  const auto fail = [&](std::string text) {
    log.print(PolygraphyLog::error, "FAILED | " + text);
    v.passed = false;
    return options.fail_fast;
  };
  for (int64_t row = 0; length > 0 && row < pair.first.size() / length; ++row)
    for (int64_t i = 0; i < length - std::max<int64_t>(tolerance, 0); ++i) {
      const double value = pair.first.at(row * length + i);
      if (value == pair.second.at(row * length + i)) continue;
      int64_t found = 0;
      while (found < length && pair.second.at(row * length + found) != value) ++found;
      if (found == length) {
        const bool is_float = dtype_is_float(pair.first.dtype());
        const std::string text =
            is_float ? python_float(value) : fmt::format("{}", pair.first.int_at(row * length + i));
        if (fail(fmt::format("Value: {} not found in output", text))) return v;
      } else if (std::abs(found - i) > tolerance) {
        if (fail(fmt::format("Difference exceeds index tolerance ({})", tolerance))) return v;
      }
    }
  if (v.passed)
    log.print(PolygraphyLog::finish, fmt::format("PASSED | Difference is within index tolerance ({})", tolerance));
  return v;
}

}  // namespace

std::string_view label_of(CompareFunction function) {
  if (function == CompareFunction::simple) return "simple";
  if (function == CompareFunction::indices) return "indices";
  return find_metric(function)->label;
}

std::pair<std::string_view, std::string_view> class_names(CompareFunction function) {
  if (function == CompareFunction::simple) return {"SimpleThreshold", "OutputCompareResult"};
  const MetricRow* row = find_metric(function);
  if (row == nullptr) return {};
  return {row->threshold_class, row->result_class};
}

bool metric_passes(CompareFunction function, double value, double threshold) {
  return find_metric(function)->higher_is_better ? value >= threshold : value <= threshold;
}

std::string metric_line(CompareFunction function, double value, double threshold, bool passed) {
  const MetricRow& row = *find_metric(function);
  std::string value_text, threshold_text;
  // More digits where five would show a failing value as equal to its threshold.
  for (int digits = 5; digits <= 17; ++digits) {
    value_text = std::isnan(value) ? "nan" : fmt::format("{:.{}g}", value, digits);
    threshold_text = fmt::format("{:.{}g}", threshold, digits);
    if (value == threshold || value_text != threshold_text) break;
  }
  return fmt::format("{}: {}{} ({}: {}{}) | {}", row.label, value_text, row.unit,
                     row.higher_is_better ? "min required" : "tolerance", threshold_text, row.unit,
                     passed ? "PASSED" : "FAILED");
}

OutputVerdict compare_output(PolygraphyLog& log, CompareFunction function, const CompareOptions& options,
                             const OutputPair& pair) {
  if (function == CompareFunction::simple) return compare_simple(log, options, pair);
  if (function == CompareFunction::indices) return compare_indices(log, options, pair);
  const MetricRow& row = *find_metric(function);
  OutputVerdict v{.output = pair.name, .other_output = pair.second_name};
  const auto given = options.thresholds.find(function);
  v.threshold = given == options.thresholds.end() ? row.default_threshold
                                                  : number_for(given->second, pair.name, row.default_threshold);
  const double value = metric_value(function, widened(pair.first), widened(pair.second));
  v.passed = metric_passes(function, value, v.threshold);
  v.metrics = {{std::string(row.field), value}};
  log.print(v.passed ? PolygraphyLog::finish : PolygraphyLog::error,
            metric_line(function, value, v.threshold, v.passed));
  return v;
}

}  // namespace planish::tools
