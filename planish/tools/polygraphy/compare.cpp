#include "planish/tools/polygraphy/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "planish/tools/polygraphy/numpy_text.h"

namespace planish::tools {
namespace {

using Json = nlohmann::ordered_json;

size_t position_of(const NamedTensors& tensors, const std::string& name) {
  return static_cast<size_t>(
      std::find_if(tensors.begin(), tensors.end(), [&](const auto& t) { return t.first == name; }) - tensors.begin());
}

std::vector<std::string> names_of(const NamedTensors& tensors) {
  std::vector<std::string> out;
  for (const auto& [name, tensor] : tensors) out.push_back(name);
  return out;
}

/// The counterpart of the first runner's output `i`: of the same name, else at the same place, unless that one has a
/// namesake of its own. Its size when there is none.
size_t counterpart(PolygraphyLog& log, const NamedTensors& first, size_t i, const NamedTensors& second,
                   const std::string& second_runner) {
  const size_t exact = position_of(second, first[i].first);
  if (exact < second.size()) return exact;
  if (i >= second.size() || position_of(first, second[i].first) < first.size()) return second.size();
  log.print(PolygraphyLog::warning,
            fmt::format("Output names did not match exactly. Assuming {} output: {} corresponds to output: {}",
                        second_runner, second[i].first, first[i].first));
  return i;
}

std::string described(const std::string& name, const Tensor& tensor) {
  return fmt::format("'{}' (dtype={}, shape={})", name, dtype_numpy_name(tensor.dtype()), python_tuple(tensor.shape()));
}

Result<std::vector<CompareFunction>> functions_of(const std::vector<std::string>& names) {
  using F = CompareFunction;
  static const std::map<std::string, std::vector<F>> kNamed{{"simple", {F::simple}},
                                                            {"indices", {F::indices}},
                                                            {"l2", {F::l2}},
                                                            {"cosine_similarity", {F::cosine_similarity}},
                                                            {"distance_metrics", {F::l2, F::cosine_similarity}},
                                                            {"psnr", {F::psnr}},
                                                            {"snr", {F::snr}},
                                                            {"quality_metrics", {F::psnr, F::snr}}};
  std::vector<F> out;
  for (const std::string& name : names) {
    const auto it = kNamed.find(name);
    if (it == kNamed.end())
      return Error{.code = Code::unsupported,
                   .file = "--compare",
                   .what = fmt::format("'{}' needs a trained network (LPIPS)", name),
                   .fix = "use quality_metrics (PSNR and SNR), or the polygraphy Python package"};
    for (const F f : it->second)
      if (std::find(out.begin(), out.end(), f) == out.end()) out.push_back(f);
  }
  if (out.empty()) out.push_back(F::simple);
  return out;
}

Json number_or_null(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

/// JSON has no infinities; Python's json module writes and reads these words.
std::string with_python_numbers(std::string text) {
  for (const auto& [from, to] : {std::pair<std::string_view, std::string_view>{"\"@inf\"", "Infinity"},
                                 {"\"@-inf\"", "-Infinity"},
                                 {"\"@nan\"", "NaN"}})
    for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at))
      text.replace(at, from.size(), to);
  return text;
}

Json verdict_json(CompareFunction function, const OutputVerdict& v) {
  if (function == CompareFunction::indices) return v.passed;
  const auto [threshold_class, result_class] = class_names(function);
  Json json = Json::object();
  for (const auto& [field, value] : v.metrics) {
    json[field] = number_or_null(value);
    if (value && !std::isfinite(*value)) json[field] = std::isnan(*value) ? "@nan" : *value > 0 ? "@inf" : "@-inf";
  }
  Json thresholds = Json::object();
  if (function == CompareFunction::simple) {
    thresholds["check_error_stat"] = v.error_stat;
    thresholds["atol"] = v.atol;
    thresholds["rtol"] = v.rtol;
  } else {
    thresholds["threshold"] = v.threshold;
  }
  thresholds["polygraphy_class"] = threshold_class;
  json["thresholds"] = std::move(thresholds);
  if (function == CompareFunction::simple) json["passed"] = v.passed;
  json["polygraphy_class"] = result_class;
  return json;
}

}  // namespace

Result<CompareOptions> compare_options(const ParsedOptions& o) {
  CompareOptions c;
  c.functions = PLANISH_TRY(functions_of(o.values("--compare")));
  c.atol = PLANISH_TRY(numbers_by_name(o.values("--atol"), "--atol"));
  c.rtol = PLANISH_TRY(numbers_by_name(o.values("--rtol"), "--rtol"));
  c.quantile = PLANISH_TRY(numbers_by_name(o.values("--error-quantile"), "--error-quantile"));
  c.index_tolerance = PLANISH_TRY(numbers_by_name(o.values("--index-tolerance"), "--index-tolerance"));
  c.error_stat = texts_by_name(o.values("--check-error-stat"));
  // A bare statistic may also be written behind an output's colon only: "out0:mean max".
  for (const auto& [name, stat] : c.error_stat) {
    constexpr std::array<std::string_view, 5> kStats{"elemwise", "max", "mean", "median", "quantile"};
    if (std::find(kStats.begin(), kStats.end(), stat) == kStats.end())
      return Error{.code = Code::invalid_argument,
                   .file = "--check-error-stat",
                   .what = fmt::format("'{}' is not a statistic", stat),
                   .fix = fmt::format("use {}", fmt::join(kStats, ", "))};
  }
  for (const auto& [function, option] :
       {std::pair{CompareFunction::l2, "--l2-threshold"},
        std::pair{CompareFunction::cosine_similarity, "--cosine-similarity-threshold"},
        std::pair{CompareFunction::psnr, "--psnr-threshold"}, std::pair{CompareFunction::snr, "--snr-threshold"}})
    c.thresholds[function] = PLANISH_TRY(numbers_by_name(o.values(option), option));
  c.infinities_compare_equal = o.has("--infinities-compare-equal");
  c.check_shapes = !o.has("--no-shape-check");
  c.fail_fast = o.has("--fail-fast");
  c.check_average = o.has("--check-average");
  if (!c.check_average) return c;
  const auto conflict = [](std::string what, std::string fix) {
    return Error{
        .code = Code::invalid_argument, .file = "--check-average", .what = std::move(what), .fix = std::move(fix)};
  };
  if (c.fail_fast) return conflict("an average needs all iterations", "leave --fail-fast out");
  for (const CompareFunction f : c.functions) {
    const bool elementwise =
        f == CompareFunction::simple && (c.error_stat.empty() || c.error_stat.contains("elemwise"));
    if (f == CompareFunction::indices || elementwise)
      return conflict(fmt::format("'{}' has no figure that could be averaged", label_of(f)),
                      "use --check-error-stat max, mean, median or quantile, or another --compare");
  }
  return c;
}

Result<AccuracyComparison::Verdicts> AccuracyComparison::compare_outputs(CompareFunction function, const Pair& pair,
                                                                         const NamedTensors& first,
                                                                         const NamedTensors& second) {
  Verdicts verdicts;
  const std::string label(label_of(function));
  std::vector<std::string> mismatched;
  for (size_t i = 0; i < first.size(); ++i) {
    const size_t k = counterpart(log_, first, i, second, pair.second);
    if (k == second.size()) continue;
    const auto& [name, a] = first[i];
    Tensor b = second[k].second;
    log_.print(PolygraphyLog::start, fmt::format("{} | Comparing Output: {} with {}", label, described(name, a),
                                                 described(second[k].first, b)));
    const LogIndent indent(log_);
    OutputVerdict verdict{.output = name, .other_output = second[k].first};
    const bool reshaped = !options_.check_shapes && a.shape() != b.shape() && a.size() == b.size();
    if (reshaped) b = b.reshaped(a.shape());
    if (a.shape() == b.shape()) {
      verdict = compare_output(log_, function, options_, {name, a, b, pair.second, second[k].first});
    } else {
      log_.print(
          PolygraphyLog::error,
          fmt::format("FAILED | Output: `{}` | Will not compare outputs of different shapes.\nNote: Output shapes "
                      "are {} and {}.",
                      name, python_tuple(a.shape()), python_tuple(b.shape())));
      if (options_.check_shapes)
        log_.print_once(PolygraphyLog::error,
                        "Note: Use --no-shape-check to compare values of as many elements anyway.");
    }
    if (!verdict.passed) mismatched.push_back(name);
    verdicts.push_back(std::move(verdict));
    if (!mismatched.empty() && options_.fail_fast) break;
  }
  if (verdicts.empty())
    return Error{
        .code = Code::invalid_argument,
        .what = fmt::format("All outputs were skipped, no common outputs found! Note:\n{} outputs: {}\n{} "
                            "outputs: {}",
                            pair.first, python_list(names_of(first)), pair.second, python_list(names_of(second)))};
  if (!mismatched.empty() && options_.fail_fast) return verdicts;
  std::vector<std::string> compared;
  for (const OutputVerdict& v : verdicts) compared.push_back(v.output);
  if (mismatched.empty())
    log_.print(PolygraphyLog::finish,
               fmt::format("PASSED | {} | All outputs matched | Outputs: {}", label, python_list(compared)));
  else
    log_.print(PolygraphyLog::error,
               fmt::format("FAILED | {} | Mismatched outputs: {}", label, python_list(mismatched)));
  return verdicts;
}

/// The values of both sides, after all functions have judged; whole when one of them failed.
void AccuracyComparison::log_outputs(const Pair& pair, const NamedTensors& first, const NamedTensors& second) {
  for (const OutputVerdict& v : pair.functions[0].back()) {
    bool failed = false;
    for (const auto& function : pair.functions)
      for (const OutputVerdict& other : function.back()) failed = failed || (other.output == v.output && !other.passed);
    const Values a = widened(first[position_of(first, v.output)].second);
    const Values b = widened(second[position_of(second, v.other_output)].second);
    const ArrayStats of_a = stats_of(a), of_b = stats_of(b);
    const std::pair range{std::min(of_a.min, of_b.min), std::max(of_a.max, of_b.max)};
    log_stats(log_, a, failed, fmt::format("{}: {}", pair.first, v.output), range);
    log_stats(log_, b, failed, fmt::format("{}: {}", pair.second, v.other_output), range);
  }
}

/// As the Python package does it: options for outputs that neither side has.
void AccuracyComparison::warn_of_unknown_outputs(const NamedTensors& first, const NamedTensors& second) {
  const auto check = [&](const auto& by_name, std::string_view option) {
    std::vector<std::string> known{""}, extra;
    for (const NamedTensors* side : {&first, &second})
      for (const auto& [name, tensor] : *side)
        if (std::find(known.begin(), known.end(), name) == known.end()) known.push_back(name);
    std::vector<std::string> given;
    for (const auto& [name, value] : by_name) {
      given.push_back(name);
      if (std::find(known.begin(), known.end(), name) == known.end()) extra.push_back(name);
    }
    if (!extra.empty())
      log_.print(
          PolygraphyLog::warning,
          fmt::format("Extra items in the {} dictionary: {}.\nNote: items requested were: {}, but all items are: {}",
                      option, python_list(extra), python_list(known), python_list(given)));
  };
  for (const CompareFunction function : options_.functions) {
    if (function != CompareFunction::simple) continue;
    check(options_.rtol, "rtol");
    check(options_.atol, "atol");
    check(options_.error_stat, "check_error_stat");
    check(options_.quantile, "quantile");
  }
}

Result<bool> AccuracyComparison::compare_pair(Pair& pair, const NamedTensors& first, const NamedTensors& second) {
  bool passed = true;
  warn_of_unknown_outputs(first, second);
  for (size_t f = 0; f < options_.functions.size(); ++f) {
    Verdicts verdicts = PLANISH_TRY(compare_outputs(options_.functions[f], pair, first, second));
    for (const OutputVerdict& v : verdicts) passed = passed && v.passed;
    pair.functions[f].push_back(std::move(verdicts));
  }
  log_outputs(pair, first, second);
  return passed;
}

Result<bool> AccuracyComparison::add(const std::vector<std::pair<std::string, const NamedTensors*>>& runners) {
  if (iterations_ == 0)
    for (size_t i = 1; i < runners.size(); ++i) {
      pairs_.push_back({runners[0].first, runners[i].first, {}});
      pairs_.back().functions.resize(options_.functions.size());
      log_.print(PolygraphyLog::start,
                 fmt::format("Accuracy Comparison | {} vs. {}", runners[0].first, runners[i].first));
    }
  log_.print(PolygraphyLog::info, fmt::format("Iteration: {}", iterations_++));
  const LogIndent indent(log_);
  bool passed = true;
  for (size_t i = 0; i < pairs_.size() && i + 1 < runners.size(); ++i)
    passed = PLANISH_TRY(compare_pair(pairs_[i], *runners[0].second, *runners[i + 1].second)) && passed;
  return passed;
}

bool AccuracyComparison::finish_average(const Pair& pair) {
  // Sums of each metric per output; the verdict is the threshold's on the mean.
  struct Line {
    std::string text;
    bool passed;
  };
  std::vector<std::pair<std::string, std::vector<Line>>> outputs;
  for (const OutputVerdict& v : pair.functions[0][0]) outputs.push_back({v.output, {}});
  for (size_t f = 0; f < options_.functions.size(); ++f)
    for (auto& [output, lines] : outputs) {
      std::map<std::string, double> sums;
      OutputVerdict last;
      double count = 0;
      for (const Verdicts& iteration : pair.functions[f])
        for (const OutputVerdict& v : iteration) {
          if (v.output != output) continue;
          for (const auto& [field, value] : v.metrics) sums[field] += value.value_or(NAN);
          last = v;
          ++count;
        }
      if (count == 0) continue;
      if (options_.functions[f] == CompareFunction::simple) {
        const double absolute = sums[last.error_stat + "_absdiff"] / count;
        const double relative = sums[last.error_stat + "_reldiff"] / count;
        const bool passed = absolute <= last.atol || relative <= last.rtol;
        lines.push_back({fmt::format("Average {} error: [abs={}, rel={}] (tolerance: [abs={}, rel={}]) | {}",
                                     last.error_stat, five_digits(absolute), five_digits(relative),
                                     five_digits(last.atol), five_digits(last.rtol), passed ? "PASSED" : "FAILED"),
                         passed});
      } else {
        const double mean = sums.begin()->second / count;
        const bool passed = metric_passes(options_.functions[f], mean, last.threshold);
        lines.push_back({metric_line(options_.functions[f], mean, last.threshold, passed), passed});
      }
    }
  const auto passes = [](const auto& o) {
    return std::all_of(o.second.begin(), o.second.end(), [](const Line& line) { return line.passed; });
  };
  const auto passed = static_cast<size_t>(std::count_if(outputs.begin(), outputs.end(), passes));
  const auto severity = [](bool good) { return good ? PolygraphyLog::finish : PolygraphyLog::error; };
  log_.print(severity(passed == outputs.size()), fmt::format("Accuracy Summary | {} vs. {} | Passed: {}/{} outputs",
                                                             pair.first, pair.second, passed, outputs.size()));
  const LogIndent indent(log_);
  for (const auto& output : outputs) {
    log_.print(severity(passes(output)), fmt::format("{} | {}:", output.first, passes(output) ? "PASSED" : "FAILED"));
    const LogIndent deeper(log_);
    for (const Line& line : output.second) log_.print(severity(line.passed), line.text);
  }
  return passed == outputs.size();
}

bool AccuracyComparison::finish() {
  bool all = true;
  for (const Pair& pair : pairs_) {
    if (options_.check_average && !pair.functions[0].empty()) {
      all = finish_average(pair) && all;
      continue;
    }
    const size_t total = pair.functions[0].size();
    size_t passed = 0;
    for (size_t i = 0; i < total; ++i) {
      bool good = true;
      for (const auto& function : pair.functions)
        for (const OutputVerdict& v : function[i]) good = good && v.passed;
      passed += good ? 1 : 0;
    }
    const double rate = total == 0 ? 100 : 100.0 * static_cast<double>(passed) / static_cast<double>(total);
    log_.print(passed == total ? PolygraphyLog::finish : PolygraphyLog::error,
               fmt::format("Accuracy Summary | {} vs. {} | Passed: {}/{} iterations | Pass Rate: {:.2f}%", pair.first,
                           pair.second, passed, total, rate));
    all = all && passed == total;
  }
  return all;
}

std::string AccuracyComparison::to_json() const {
  Json results = Json::array();
  for (size_t f = 0; f < options_.functions.size(); ++f) {
    Json pairs = Json::array();
    for (const Pair& pair : pairs_) {
      Json iterations = Json::array();
      for (const Verdicts& verdicts : pair.functions[f]) {
        Json iteration = Json::object();
        for (const OutputVerdict& v : verdicts) iteration[v.output] = verdict_json(options_.functions[f], v);
        iterations.push_back(std::move(iteration));
      }
      pairs.push_back(Json::array({Json::array({pair.first, pair.second}), std::move(iterations)}));
    }
    Json result = Json::object();
    result["lst"] = std::move(pairs);
    result["aggregation"] = options_.check_average ? "average" : "per_sample";
    result["polygraphy_class"] = "AccuracyResult";
    results.push_back(std::move(result));
  }
  Json json = Json::object();
  json["lst"] = std::move(results);
  json["polygraphy_class"] = "AccuracyResults";
  return with_python_numbers(json.dump(4, ' ', false, Json::error_handler_t::replace));
}

}  // namespace planish::tools
