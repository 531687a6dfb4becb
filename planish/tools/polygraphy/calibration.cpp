#include "planish/tools/polygraphy/calibration.h"
#include "planish/tools/calibration/freed_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>

#include "planish/api/quantize.h"
#include "planish/tools/calibration/batch_source.h"
#include "planish/tools/calibration/obtain.h"
#include "planish/tools/calibration/reader.h"
#include "planish/tools/polygraphy/input_data.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

namespace fs = std::filesystem;

/// The data loader's iterations as calibration data.
class InputDataReader : public CalibrationReader {
 public:
  static Result<std::unique_ptr<CalibrationReader>> open(const ParsedOptions& options,
                                                         std::vector<api::TensorInfo> inputs, PolygraphyLog& log) {
    auto reader = std::make_unique<InputDataReader>(options, std::move(inputs), log);
    PLANISH_TRY(reader->rewind());
    return std::unique_ptr<CalibrationReader>(std::move(reader));
  }
  InputDataReader(const ParsedOptions& options, std::vector<api::TensorInfo> inputs, PolygraphyLog& log)
      : options_(options), inputs_(std::move(inputs)), log_(log) {}

  Result<std::optional<CalibrationItem>> next() override {
    auto feed = PLANISH_TRY(data_->next());
    if (!feed) return std::optional<CalibrationItem>();
    return std::optional(CalibrationItem{*std::move(feed), fmt::format("iteration {}", items_++)});
  }
  Status rewind() override {
    items_ = 0;
    data_ = PLANISH_TRY(make_input_data(options_, log_));
    std::vector<RunnerInput> wanted;
    for (const api::TensorInfo& input : inputs_) wanted.push_back({input, std::nullopt});
    return data_->prepare(wanted);
  }
  [[nodiscard]] std::string identity() const override {
    std::string out = description();
    for (const char* option : {"--seed", "--val-range", "--iterations"})
      out += fmt::format(" {}", fmt::join(options_.values(option), " "));
    for (const std::string& path : options_.values("--load-inputs")) out += ' ' + file_identity(path);
    return out;
  }
  [[nodiscard]] std::string description() const override {
    if (!options_.has("--load-inputs")) return "random";
    return fmt::format("inputs {}", fmt::join(options_.values("--load-inputs"), " "));
  }

 private:
  const ParsedOptions& options_;
  std::vector<api::TensorInfo> inputs_;
  PolygraphyLog& log_;
  std::unique_ptr<InputData> data_;
  int64_t items_ = 0;
};

/// Inputs at the opt shapes of the last profile, which is what calibration data must have.
std::vector<api::TensorInfo> calibration_inputs(const api::Model& model, const api::BuildConfig& config) {
  std::vector<api::TensorInfo> inputs = model.inputs();
  if (config.profiles.empty()) return inputs;
  for (api::TensorInfo& input : inputs)
    if (const auto it = config.profiles.back().find(input.name); it != config.profiles.back().end())
      input.dims = it->second.opt;
  return inputs;
}

struct CalibratorRow {
  std::string_view name;
  api::CalibrationMethod method;
};
constexpr CalibratorRow kCalibrators[] = {{"IInt8EntropyCalibrator2", api::CalibrationMethod::entropy},
                                          {"IInt8EntropyCalibrator", api::CalibrationMethod::entropy},
                                          {"IInt8MinMaxCalibrator", api::CalibrationMethod::minmax},
                                          {"IInt8LegacyCalibrator", api::CalibrationMethod::percentile}};

Status set_method(const ParsedOptions& options, api::CalibrationOptions& calibration) {
  const std::string name = options.text("--calib-base-cls");
  if (name.empty()) return {};
  std::vector<std::string> names;
  for (const CalibratorRow& row : kCalibrators) {
    names.emplace_back(row.name);
    if (row.name == name) calibration.method = row.method;
  }
  if (std::find(names.begin(), names.end(), name) == names.end())
    return Error{.code = Code::invalid_argument,
                 .file = "--calib-base-cls",
                 .what = fmt::format("there is no calibrator '{}'", name),
                 .fix = fmt::format("use {}", fmt::join(names, ", "))};
  if (!options.has("--quantile")) return {};
  const double quantile = PLANISH_TRY(parse_number(options.text("--quantile"), 0.5, 1, "--quantile"));
  calibration.percentile = quantile * 100;
  return {};
}

/// The table in the cache file; nullptr when there is none to be read.
Result<std::shared_ptr<const api::CalibrationTable>> cached(const std::string& cache, PolygraphyLog& log) {
  using Table = std::shared_ptr<const api::CalibrationTable>;
  std::error_code error;
  if (cache.empty() || !fs::exists(cache, error)) return Table();
  if (fs::is_regular_file(cache, error) && fs::file_size(cache, error) == 0) {
    log.print(PolygraphyLog::warning,
              "Calibration cache was provided, but is empty. Will regenerate scales by running calibration.");
    return Table();
  }
  log.print(PolygraphyLog::info, "Loading calibration cache from " + cache);
  std::vector<std::string> warnings;
  auto table = PLANISH_TRY(api::CalibrationTable::read(cache, &warnings));
  for (const std::string& text : warnings) log.print(PolygraphyLog::warning, text);
  return Table(std::make_shared<api::CalibrationTable>(std::move(table)));
}

Result<std::unique_ptr<api::CalibrationSource>> open_source(const api::Model& model, const ParsedOptions& options,
                                                            const api::BuildConfig& config, PolygraphyLog& log) {
  std::vector<api::TensorInfo> inputs = calibration_inputs(model, config);
  std::unique_ptr<CalibrationReader> reader;
  if (options.has("--data-loader-script")) {
    constexpr double kTimeout_s = 120;
    reader = PLANISH_TRY(script_reader(options.text("--data-loader-script"), inputs, -1, kTimeout_s, config.warn));
  } else {
    if (!options.has("--load-inputs"))
      log.print(
          PolygraphyLog::warning,
          "Int8 Calibration is using randomly generated input data.\nThis could negatively impact accuracy if the "
          "inference-time input data is dissimilar to the randomly generated calibration data.\nYou may want to "
          "consider providing real data via the --data-loader-script option.");
    reader = PLANISH_TRY(InputDataReader::open(options, inputs, log));
  }
  auto source = std::make_unique<BatchSource>(std::move(reader), std::move(inputs), 0);
  // A script may yield a batch that does not fit among good ones; files were all made the same way.
  if (!options.has("--data-loader-script")) PLANISH_TRY(source->check_first());
  return std::unique_ptr<api::CalibrationSource>(std::move(source));
}

/// A line every few seconds: what is done, and how long the rest takes where that can be told.
std::function<void(std::string_view, size_t, size_t)> progress_lines(PolygraphyLog& log) {
  using Clock = std::chrono::steady_clock;
  constexpr double kInterval_s = 5;
  const auto seconds_since = [](Clock::time_point t) {
    return std::chrono::duration<double>(Clock::now() - t).count();
  };
  return [&log, seconds_since, begin = Clock::now(), last = Clock::now(), name = std::string()](
             std::string_view stage, size_t done, size_t total) mutable {
    if (name != stage) {
      name = stage;
      begin = Clock::now();
    }
    if (done == 0 || seconds_since(last) < kInterval_s) return;
    last = Clock::now();
    const double left_s =
        seconds_since(begin) / static_cast<double>(done) * static_cast<double>(total - std::min(done, total));
    log.print(PolygraphyLog::info, total > 0
                                       ? fmt::format("{}: {} of {}, about {:.0f} s left", stage, done, total, left_s)
                                       : fmt::format("{}: {} in {:.0f} s", stage, done, seconds_since(begin)));
  };
}

Result<std::shared_ptr<const api::CalibrationTable>> calibrated(const api::Model& model, const ParsedOptions& options,
                                                                const api::BuildConfig& config, PolygraphyLog& log) {
  const auto source = PLANISH_TRY(open_source(model, options, config, log));
  api::CalibrationOptions calibration;
  calibration.inner_tensors = options.has("--calibration-cache");
  calibration.warn = config.warn;
  calibration.progress = progress_lines(log);
  if (!config.profiles.empty()) calibration.calibration_profile = config.profiles.back();
  PLANISH_TRY(set_method(options, calibration));
  log.print(PolygraphyLog::start, fmt::format("Calibrating on {}", source->description()));
  api::CalibrationStats stats;
  keep_freed_memory();
  auto table = PLANISH_TRY(api::calibrate(model, *source, calibration, &stats));
  table.random = !options.has("--load-inputs") && !options.has("--data-loader-script");
  log.print(PolygraphyLog::finish,
            fmt::format("Finished calibrating on {} sample(s) in {:.3f} seconds{}", stats.samples, stats.seconds,
                        stats.skipped > 0 ? fmt::format("; {} skipped", stats.skipped) : ""));
  if (const std::string few = few_samples_text(stats.samples); !few.empty() && !table.random)
    log.print(PolygraphyLog::warning, few);
  if (options.has("--calibration-cache")) {
    const std::string cache = options.text("--calibration-cache");
    log.print(PolygraphyLog::info, "Saving calibration cache to " + cache);
    PLANISH_TRY(table.write(cache));
  }
  return std::shared_ptr<const api::CalibrationTable>(std::make_shared<api::CalibrationTable>(std::move(table)));
}

}  // namespace

Status prepare_int8(const api::Model& model, const ParsedOptions& options, api::BuildConfig& config,
                    PolygraphyLog& log) {
  config.int8 = true;
  if (model.has_quantize_nodes()) {
    log.print(PolygraphyLog::info,
              "The network has explicit precision (QuantizeLinear/DequantizeLinear); it is not calibrated.");
    return {};
  }
  config.calibration = PLANISH_TRY(cached(options.text("--calibration-cache"), log));
  if (config.calibration == nullptr) config.calibration = PLANISH_TRY(calibrated(model, options, config, log));
  return {};
}

}  // namespace planish::tools
