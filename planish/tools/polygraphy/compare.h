#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "planish/api/data.h"
#include "planish/base/status.h"
#include "planish/tools/polygraphy/array_stats.h"
#include "planish/tools/polygraphy/logger.h"
#include "planish/tools/polygraphy/options.h"

namespace planish::tools {

enum class CompareFunction : uint8_t { simple, indices, l2, cosine_similarity, psnr, snr };

/// What `polygraphy run` compares and how strictly. Maps go by output name, "" for the rest.
struct CompareOptions {
  std::vector<CompareFunction> functions{CompareFunction::simple};
  std::map<std::string, double> atol, rtol, quantile, index_tolerance;
  std::map<std::string, std::string> error_stat;
  std::map<CompareFunction, std::map<std::string, double>> thresholds;  ///< of l2, cosine similarity, PSNR and SNR
  bool infinities_compare_equal = false;
  bool check_shapes = true;
  bool fail_fast = false;
  bool check_average = false;
};

/// Reads the comparison options. Errors name option and value.
Result<CompareOptions> compare_options(const ParsedOptions& options);

/// What one function found for one output.
struct OutputVerdict {
  std::string output;
  std::string other_output;  ///< its counterpart's name
  bool passed = false;
  std::vector<std::pair<std::string, std::optional<double>>> metrics;  ///< as Polygraphy names them in files
  std::string error_stat;                                              ///< of simple
  double atol = 0, rtol = 0, threshold = 0;
};

/// Two tensors that are compared.
struct OutputPair {
  const std::string& name;
  const Tensor& first;
  const Tensor& second;
  const std::string& second_runner;
  const std::string& second_name;
};

/// Applies one function to one output and logs as Polygraphy does below "Comparing Output".
OutputVerdict compare_output(PolygraphyLog& log, CompareFunction function, const CompareOptions& options,
                             const OutputPair& pair);
/// "simple", "L2 Norm", ...
std::string_view label_of(CompareFunction function);
/// Name of the class in files: "SimpleThreshold" and "OutputCompareResult", "L2Threshold" and "L2Result"; "" for
/// indices.
std::pair<std::string_view, std::string_view> class_names(CompareFunction function);
/// "L2 Norm: 0.5 (tolerance: 1e-05) | FAILED" for a metric with its threshold.
std::string metric_line(CompareFunction function, double value, double threshold, bool passed);
bool metric_passes(CompareFunction function, double value, double threshold);

/// Collects comparisons of runner 0 with each of the others over all iterations.
class AccuracyComparison {
 public:
  AccuracyComparison(PolygraphyLog& log, CompareOptions options) : log_(log), options_(std::move(options)) {}

  /// One iteration: every runner's outputs, always the same runners. Logs. False when something differs too much.
  /// Error: two runners without a common output.
  Result<bool> add(const std::vector<std::pair<std::string, const NamedTensors*>>& runners);
  /// Logs the summary per pair; true when all passed.
  bool finish();
  /// The file of --save-accuracy-results.
  [[nodiscard]] std::string to_json() const;

 private:
  using Verdicts = std::vector<OutputVerdict>;
  struct Pair {
    std::string first, second;
    std::vector<std::vector<Verdicts>> functions;  ///< per function, per iteration
  };
  Result<bool> compare_pair(Pair& pair, const NamedTensors& first, const NamedTensors& second);
  Result<Verdicts> compare_outputs(CompareFunction function, const Pair& pair, const NamedTensors& first,
                                   const NamedTensors& second);
  void warn_of_unknown_outputs(const NamedTensors& first, const NamedTensors& second);
  void log_outputs(const Pair& pair, const NamedTensors& first, const NamedTensors& second);
  bool finish_average(const Pair& pair);

  PolygraphyLog& log_;
  CompareOptions options_;
  std::vector<Pair> pairs_;
  size_t iterations_ = 0;
};

/// The text of an --save-accuracy-results file as `polygraphy inspect data` shows it: verdicts and figures of the first
/// iteration, or of all. nullopt when the file holds something else. Errors: those of reading it.
Result<std::optional<std::string>> accuracy_results_text(const std::string& path, bool all_iterations);

}  // namespace planish::tools
