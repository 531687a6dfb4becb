#include "planish/tools/calibration/obtain.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "planish/base/atomic_file.h"
#include "planish/tools/calibration/freed_memory.h"
#include "planish/tools/console.h"

namespace planish::tools {
namespace {

constexpr int64_t kFewSamples = 100;

void tell(const WarnFunction& to, const std::string& text) {
  if (to) to(text);
}

/// A table as `planish cache convert` writes it, told from polygraphy's saved inputs.
bool is_table_json(const std::string& path) {
  constexpr size_t kStart = 4096;
  if (std::filesystem::path(path).extension() != ".json") return false;
  const auto text = read_file(path);
  if (!text.ok()) return false;
  const std::string start = text->substr(0, kStart);
  return start.find("polygraphy") == std::string::npos && start.find("\"scale\"") != std::string::npos;
}

Result<Calibration> read_ranges(const CalibrationRequest& request, bool json) {
  const std::string& path = request.place.path;
  std::vector<std::string> warnings;
  Calibration calibration;
  if (json) {
    const std::string text = PLANISH_TRY(read_file(path));
    calibration.table = PLANISH_TRY(api::CalibrationTable::from_json(text, path));
  } else {
    calibration.table = PLANISH_TRY(api::CalibrationTable::read(path, &warnings));
  }
  for (const std::string& text : warnings) tell(request.place.warn, text);
  tell(request.place.note,
       fmt::format("{}: ranges of {} tensors ({})", path, calibration.table.ranges.size(), calibration.table.header));
  if (calibration.table.random)
    tell(request.place.warn, fmt::format("{} was made from RANDOM data: fit for timing, not for accuracy", path));
  return calibration;
}

void report(const Calibration& calibration, const CalibrationRequest& request) {
  const api::CalibrationStats& stats = calibration.stats;
  tell(request.place.note,
       fmt::format("calibrated on {} samples in {:.1f} s: ranges of {} tensors, method {}", stats.samples,
                   stats.seconds, calibration.table.ranges.size(), api::calibration_method_name(request.method)));
  if (stats.skipped > 0) {
    tell(request.place.warn,
         fmt::format("{} of {} samples were skipped", stats.skipped, stats.skipped + stats.samples));
  }
  if (const std::string few = few_samples_text(stats.samples); !few.empty() && !calibration.table.random)
    tell(request.place.warn, few);
}

}  // namespace

std::string few_samples_text(int64_t samples) {
  if (samples >= kFewSamples) return "";
  return fmt::format("{} samples are few to calibrate on: 100 to 500 that look like real use give better ranges",
                     samples);
}

std::vector<std::string> calibration_method_names() { return {"auto", "entropy", "minmax", "percentile", "mse"}; }

Result<Calibration> obtain_calibration(const api::Model& model, const CalibrationRequest& request) {
  const std::string& path = request.place.path;
  const bool json = is_table_json(path);
  std::error_code ignored;
  const bool looks_like_cache = std::filesystem::path(path).extension() == ".cache";
  if (json || is_calibration_cache(path) || (looks_like_cache && std::filesystem::is_regular_file(path, ignored)))
    return read_ranges(request, json);

  Calibration calibration;
  CalibrationPlace place = request.place;
  place.model = &model;
  calibration.source = PLANISH_TRY(open_calibration_source(place, model.inputs(), model.outputs()));
  api::CalibrationOptions options;
  options.inner_tensors = !request.cache_path.empty();
  options.method = request.method;
  options.percentile = request.percentile;
  options.max_samples = request.place.max_samples;
  options.max_bad_share = request.max_bad_share;
  options.threads = request.place.threads;
  options.progress = request.progress;
  options.adapt_weights = request.adapt_weights;
  options.equalization = request.equalization;
  options.adapt_work = request.adapt_work;
  options.full_range = request.full_range;
  options.weight_range = request.weight_range;
  options.warn = request.place.warn;
  keep_freed_memory();
  calibration.table = PLANISH_TRY(api::calibrate(model, *calibration.source, options, &calibration.stats));
  calibration.table.random = is_random_calibration(path);
  report(calibration, request);
  if (!request.cache_path.empty()) {
    PLANISH_TRY(calibration.table.write(request.cache_path));
    tell(request.place.note, fmt::format("calibration cache written to {}", request.cache_path));
  }
  // What comes next may want the data once more; without a second walk it does without.
  if (!calibration.source->rewind().ok()) calibration.source.reset();
  return calibration;
}

void CalibrationArguments::declare(CommandLine& line) {
  line.input("--calib", path, "PATH",
             "What to calibrate on: a folder of pictures or arrays, .npy, .npz, .json (polygraphy inputs), a .py data "
             "loader, a calibration cache, or the word random");
  line.input("--preset,--preprocess", preprocess, "NAME|FILE",
             "Preprocessing of pictures: imagenet, caffe, cifar10, yolo, raw, or a JSON file (default: a guess)");
  line.choice("--method", method, calibration_method_names(), "How ranges are chosen (default auto: per tensor)");
  line.number("--percentile", percentile, 50, 100, "P", "For --method=percentile (default 99.99)");
  line.integer("--calib-samples", samples, 1, int64_t{1} << 40,
               "Calibrate on this many samples, spread over the data (default: all; scripts: at most 1000)");
  line.integer("--calib-batch", batch, 1, 1 << 16, "Samples per run where the batch is free");
  line.number("--max-bad", max_bad_percent, 0, 100, "PERCENT",
              "Unreadable samples are skipped and counted; more than this is an error (default 10)");
  line.number("--script-timeout", script_timeout_s, 0.1, 1e6, "SECONDS",
              "Longest wait for one batch of a data loader (default 120)");
  line.output("--calib-cache", cache_path, "FILE", "Write the ranges there; --calib=FILE reads them again");
}

Result<CalibrationRequest> CalibrationArguments::request(const std::string& command, int64_t threads) const {
  if (path.empty())
    return Error{.code = Code::invalid_argument,
                 .file = "--calib",
                 .what = "says what to calibrate on, and is missing",
                 .fix = "add --calib=FOLDER of typical pictures, --calib=data.npy, or --calib=model.cache"};
  CalibrationRequest request;
  request.place.path = path;
  request.place.preprocess = preprocess;
  request.place.max_samples = samples > 0 ? samples : -1;
  request.place.batch = batch;
  request.place.script_timeout_s = script_timeout_s;
  request.place.threads = static_cast<int>(threads);
  request.place.note = [command](const std::string& text) { fmt::print(stderr, "planish {}: {}\n", command, text); };
  request.place.warn = [command](const std::string& text) { warn(command, text); };
  // The command line took only names that exist.
  request.method = api::find_calibration_method(method).value_or(api::CalibrationMethod::automatic);
  request.percentile = percentile;
  request.max_bad_share = max_bad_percent / 100;
  request.cache_path = cache_path;
  request.adapt_weights = adapt_weights;
  request.equalization = equalization;
  request.adapt_work = adapt_work;
  request.full_range = full_range;
  request.weight_range = weight_range;
  return request;
}

Result<Calibration> calibrate_with_progress(const std::string& command, const api::Model& model,
                                            const CalibrationArguments& arguments, const api::ProfileRanges& shapes,
                                            int64_t threads) {
  CalibrationRequest request = PLANISH_TRY(arguments.request(command, threads));
  request.place.shapes = shapes;
  Progress progress("Calibrating");
  std::vector<std::string> warnings;
  request.progress = [&](std::string_view stage, size_t done, size_t total) {
    progress.update(stage, static_cast<int64_t>(done), static_cast<int64_t>(total));
  };
  // Lines between two states of the bar would tear it.
  const auto after_the_bar = [&progress](const WarnFunction& to) {
    return [&progress, to](const std::string& text) {
      progress.finish();
      to(text);
    };
  };
  request.place.note = after_the_bar(request.place.note);
  request.place.warn = after_the_bar(request.place.warn);
  auto calibration = obtain_calibration(model, request);
  progress.finish();
  return calibration;
}

}  // namespace planish::tools
