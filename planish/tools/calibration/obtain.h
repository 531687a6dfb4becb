#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "planish/api/quantize.h"
#include "planish/base/status.h"
#include "planish/tools/calibration/calibration_source.h"
#include "planish/tools/command_line.h"

namespace planish::tools {

/// How to get ranges: data to calibrate on, or a cache.
struct CalibrationRequest {
  CalibrationPlace place;
  api::CalibrationMethod method = api::CalibrationMethod::automatic;
  double percentile = 99.99;
  double max_bad_share = 0.1;
  std::string cache_path;  ///< where ranges that were measured are written; "" does not
  /// For which numbers weights are adapted; see api::CalibrationOptions.
  bool adapt_weights = true;
  bool equalization = false;
  double adapt_work = api::CalibrationOptions().adapt_work;
  std::optional<bool> full_range;
  std::optional<api::WeightRange> weight_range;
  std::function<void(std::string_view stage, size_t done, size_t total)> progress;
};

struct Calibration {
  api::CalibrationTable table;
  api::CalibrationStats stats;                     ///< zeros when the ranges come from a cache
  std::unique_ptr<api::CalibrationSource> source;  ///< the data, at its start; nullptr when a cache was read
};

/// A warning where that many samples are few to calibrate on, else "".
std::string few_samples_text(int64_t samples);

/// Reads the cache or calibrates, and says what it did through the place's `note` and `warn`. Below 100 samples there
/// is a warning. Errors name the path, the sample or the tensor, and what would do.
Result<Calibration> obtain_calibration(const api::Model& model, const CalibrationRequest& request);

/// Calibration options of the planish commands.
struct CalibrationArguments {
  std::string path;
  std::string preprocess;
  std::string method = "auto";
  std::string cache_path;
  double percentile = 99.99;
  double max_bad_percent = 10;
  double script_timeout_s = 120;
  int64_t samples = 0;
  int64_t batch = 0;
  /// Of the command, no options: see CalibrationRequest.
  bool adapt_weights = true;
  bool equalization = false;
  double adapt_work = api::CalibrationOptions().adapt_work;
  std::optional<bool> full_range;
  std::optional<api::WeightRange> weight_range;

  void declare(CommandLine& line);
  /// The request of `command`: notes go to standard error, warnings too. Error when --calib is missing.
  [[nodiscard]] Result<CalibrationRequest> request(const std::string& command, int64_t threads) const;
};

/// With a progress bar.
Result<Calibration> calibrate_with_progress(const std::string& command, const api::Model& model,
                                            const CalibrationArguments& arguments, const api::ProfileRanges& shapes,
                                            int64_t threads);

/// Names that --method takes.
std::vector<std::string> calibration_method_names();

}  // namespace planish::tools
