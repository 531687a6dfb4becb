#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "planish/base/atomic_file.h"
#include "planish/base/temporary_folder.h"
#include "planish/tools/calibration/obtain.h"
#include "planish/tools/console.h"
#include "planish/tools/int8_summary.h"
#include "planish/tools/judge.h"
#include "planish/tools/measurement.h"
#include "planish/tools/planish_commands.h"
#include "planish/tools/trial.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int64_t kRounds = 5;

struct CompareCommand {
  std::string path, format = "text", output_path, save_folder;
  std::string precisions = "fp32,fp16,bf16,int8";
  double duration_s = 2;
  bool no_float_fallback = false;
  CalibrationArguments calibration;
  JudgeArguments judge;
  BuildArguments build;
  CommandLine line;

  CompareCommand()
      : line("compare-precisions",
             "Builds FP32, FP16, BF16 and INT8 engines of one model and puts size, latency, throughput and accuracy "
             "side "
             "by side.",
             "  planish compare-precisions resnet18.onnx --calib=calib_images --eval=test.npz --preset=cifar10\n"
             "  planish compare-precisions model.onnx --calib=model.cache --format=markdown -o table.md\n"
             "  planish compare-precisions model.onnx --precisions=fp32,bf16 --save=engines/") {
    line.positional("MODEL.onnx", path, "The FP32 model");
    calibration.declare(line);
    judge.declare(line, "Measure accuracy on this data");
    line.text("--precisions", precisions, "LIST",
              "What to compare, the first is the baseline: fp32, fp16, bf16, int8, best (default fp32,fp16,bf16,int8)");
    line.flag("--no-float-fallback", no_float_fallback, "Keep layers in INT8 that are faster in float");
    line.number("--duration", duration_s, 0.01, 3600, "SECONDS", "Time each engine for this long (default 2)");
    line.choice("--format", format, {"text", "markdown", "csv", "json"}, "How the table is written (default text)");
    line.output("-o,--output", output_path, "FILE", "Write the table there; .md, .csv and .json choose the format");
    line.output_folder("--save", save_folder, "DIR", "Keep the engines, as DIR/<model>_<precision>.engine");
    build.declare_common(line);
  }
};

/// One engine and what was measured of it.
struct Candidate {
  std::string precision;
  std::unique_ptr<api::Engine> engine;
  uint64_t bytes = 0;
  double build_s = 0;
  std::vector<double> latencies_ms;
  double wall_ms = 0;
  std::optional<Score> score;
  size_t int8_layers = 0, layers = 0;

  [[nodiscard]] double median_ms() const {
    std::vector<double> sorted = latencies_ms;
    std::sort(sorted.begin(), sorted.end());
    return sorted.empty() ? 0 : sorted[sorted.size() / 2];
  }
  /// Samples a second at the batch that was timed.
  [[nodiscard]] double throughput(int64_t batch) const {
    return wall_ms > 0 ? static_cast<double>(latencies_ms.size()) * static_cast<double>(batch) / wall_ms * 1000 : 0;
  }
};

Result<std::vector<std::string>> wanted_precisions(const CompareCommand& command) {
  const std::vector<std::string> known{"fp32", "fp16", "bf16", "int8", "best"};
  std::vector<std::string> wanted = split_list(command.precisions, ',');
  for (const std::string& precision : wanted)
    if (std::find(known.begin(), known.end(), precision) == known.end())
      return Error{.code = Code::invalid_argument,
                   .file = "--precisions",
                   .what = fmt::format("'{}' is not a precision", precision),
                   .fix = "use fp32, fp16, bf16, int8 and best (INT8, BF16 and FP16 together)"};
  if (wanted.empty())
    return Error{.code = Code::invalid_argument,
                 .file = "--precisions",
                 .what = "names nothing to compare",
                 .fix = "write fp32,int8"};
  return wanted;
}

bool uses_int8(const std::string& precision) { return precision == "int8" || precision == "best"; }

Result<std::vector<Candidate>> build_all(const CompareCommand& command, Trials& trials,
                                         const std::vector<std::string>& precisions, const fs::path& folder) {
  std::shared_ptr<const api::CalibrationTable> table;
  const bool needs_table = std::any_of(precisions.begin(), precisions.end(), uses_int8);
  if (needs_table && !trials.model().has_quantize_nodes()) {
    Calibration calibration = PLANISH_TRY(calibrate_with_progress(
        "compare-precisions", trials.model(), command.calibration,
        trials.config().profiles.empty() ? api::ProfileRanges{} : trials.config().profiles[0], command.build.threads));
    table = std::make_shared<const api::CalibrationTable>(std::move(calibration.table));
  }
  std::vector<Candidate> candidates;
  for (const std::string& precision : precisions) {
    Candidate c{.precision = precision};
    api::BuildStats stats;
    const auto set = [&](api::BuildConfig& config) {
      config.fp16 = precision == "fp16" || precision == "best";
      config.bf16 = precision == "bf16" || precision == "best";
      config.int8 = uses_int8(precision);
      config.float_fallback = !command.no_float_fallback;
      if (config.int8) config.calibration = table;
    };
    c.engine = std::make_unique<api::Engine>(PLANISH_TRY(trials.build(set, precision, &stats)));
    c.build_s = stats.seconds;
    if (!stats.float_fallback.in_float.empty())
      fmt::print(stderr, "planish compare-precisions: {}:{}\n", precision, float_fallback_line(stats.float_fallback));
    const std::string stem = fs::path(command.path).stem().string();
    c.bytes = PLANISH_TRY(c.engine->save(folder / fmt::format("{}_{}.engine", stem, precision)));
    const auto layers = PLANISH_TRY(c.engine->layers());
    const Int8Summary summary = summarise_int8(layers, nullptr);
    c.int8_layers = summary.int8_layers;
    c.layers = summary.int8_layers + summary.float_layers;
    candidates.push_back(std::move(c));
  }
  return candidates;
}

/// In turns, so that what disturbs the machine disturbs all of them.
Status time_all(const CompareCommand& command, std::vector<Candidate>& candidates) {
  Progress progress("Timing");
  const auto count = static_cast<int64_t>(candidates.size());
  for (int64_t round = 0; round < kRounds; ++round)
    for (int64_t i = 0; i < count; ++i) {
      Candidate& c = candidates[static_cast<size_t>(i)];
      progress.update("rounds", round * count + i, kRounds * count);
      const InputTensors inputs = PLANISH_TRY(random_inputs(*c.engine, "", 1));
      LatencyOptions options;
      options.iterations = 3;
      options.warm_up_ms = round == 0 ? 200 : 20;
      options.duration_s = command.duration_s / static_cast<double>(kRounds);
      options.threads = command.build.threads;
      const Latency latency = PLANISH_TRY(measure_latency(*c.engine, inputs, options));
      c.latencies_ms.insert(c.latencies_ms.end(), latency.latencies_ms.begin(), latency.latencies_ms.end());
      c.wall_ms += latency.wall_ms;
    }
  progress.finish();
  return {};
}

Status judge_all(const CompareCommand& command, std::vector<Candidate>& candidates) {
  if (command.judge.data.empty()) return {};
  const Judge judge = PLANISH_TRY(
      Judge::open(command.judge.data, command.calibration.preprocess, command.judge.limit, command.build.threads));
  for (Candidate& c : candidates) {
    Progress progress("Evaluating " + c.precision);
    c.score = PLANISH_TRY(
        judge.score(*c.engine, [&progress](int64_t done, int64_t total) { progress.update("pictures", done, total); }));
    progress.finish();
  }
  return {};
}

int64_t batch_of(const api::Engine& engine) {
  if (engine.inputs().empty() || engine.profiles().empty()) return 1;
  const auto it = engine.profiles()[0].find(engine.inputs()[0].name);
  return it == engine.profiles()[0].end() || it->second.opt.size() < 2 ? 1 : it->second.opt[0];
}

/// `csv`: numbers alone, as a spreadsheet wants them, with the units in the heads of the columns.
Table table_of(const std::vector<Candidate>& candidates, int64_t batch, bool csv) {
  const bool judged = candidates[0].score.has_value();
  const bool classes = judged && !candidates[0].score->answers.empty();
  std::vector<Table::Column> columns{{"Precision"},
                                     {csv ? "Engine size (bytes)" : "Engine size", true},
                                     {csv ? "Latency (ms)" : "Latency", true},
                                     {csv ? "Throughput (1/s)" : "Throughput", true},
                                     {"Speed-up", true},
                                     {"INT8 layers", true}};
  if (csv) columns.push_back({"Layers", true});
  if (judged) {
    columns.push_back({candidates[0].score->metric + (csv ? " (%)" : ""), true});
    columns.push_back({csv ? "Drop (points)" : "Drop", true});
  }
  if (classes) columns.push_back({fmt::format("Same top-1 as {}{}", candidates[0].precision, csv ? " (%)" : ""), true});
  Table table(std::move(columns));
  for (const Candidate& c : candidates) {
    const double speed_up = candidates[0].median_ms() / std::max(c.median_ms(), 1e-9);
    const double drop = judged ? candidates[0].score->value - c.score->value : 0;
    if (csv) {
      std::vector<std::string> row{c.precision,
                                   fmt::format("{}", c.bytes),
                                   fmt::format("{:.4f}", c.median_ms()),
                                   fmt::format("{:.1f}", c.throughput(batch)),
                                   fmt::format("{:.3f}", speed_up),
                                   fmt::format("{}", c.int8_layers),
                                   fmt::format("{}", c.layers)};
      if (judged) row.push_back(fmt::format("{:.4f}", c.score->value * 100));
      if (judged) row.push_back(fmt::format("{:.4f}", drop * 100));
      if (classes) row.push_back(fmt::format("{:.4f}", agreement(*c.score, *candidates[0].score).value_or(0) * 100));
      table.add(std::move(row));
      continue;
    }
    std::vector<std::string> row{c.precision,
                                 bytes_text(static_cast<int64_t>(c.bytes)),
                                 milliseconds_text(c.median_ms()),
                                 fmt::format("{:.1f}/s", c.throughput(batch)),
                                 fmt::format("{:.2f}x", speed_up),
                                 fmt::format("{} of {}", c.int8_layers, c.layers)};
    if (judged) {
      row.push_back(percent_text(c.score->value));
      row.push_back(&c == &candidates[0] ? "" : points_text(drop));
    }
    if (classes) row.push_back(percent_text(agreement(*c.score, *candidates[0].score).value_or(0)));
    table.add(std::move(row));
  }
  return table;
}

std::string json_of(const CompareCommand& command, const std::vector<Candidate>& candidates, int64_t batch) {
  Json json{{"model", command.path}, {"batch", batch}, {"device", candidates[0].engine->summary().device}};
  json["calibration"] = command.calibration.path;
  json["eval"] = command.judge.data;
  json["engines"] = Json::array();
  for (const Candidate& c : candidates) {
    Json row{{"precision", c.precision},
             {"engine_bytes", c.bytes},
             {"build_seconds", c.build_s},
             {"latency_ms", c.median_ms()},
             {"throughput_per_second", c.throughput(batch)},
             {"speed_up", candidates[0].median_ms() / std::max(c.median_ms(), 1e-9)},
             {"int8_layers", c.int8_layers},
             {"layers", c.layers}};
    if (c.score) {
      row["metric"] = c.score->metric;
      row["accuracy"] = c.score->value;
      row["drop"] = candidates[0].score->value - c.score->value;
      row["pictures"] = c.score->pictures;
      if (const auto same = agreement(*c.score, *candidates[0].score)) row["same_top1"] = *same;
    }
    json["engines"].push_back(std::move(row));
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Status show(const CompareCommand& command, const std::vector<Candidate>& candidates) {
  const int64_t batch = batch_of(*candidates[0].engine);
  const Table table = table_of(candidates, batch, false);
  const std::string extension = fs::path(command.output_path).extension().string();
  std::string format = command.format;
  if (format == "text" && extension == ".md") format = "markdown";
  if (format == "text" && (extension == ".csv" || extension == ".json")) format = extension.substr(1);
  const std::string text = format == "markdown" ? table.markdown()
                           : format == "csv"    ? table_of(candidates, batch, true).csv()
                           : format == "json"   ? json_of(command, candidates, batch)
                                                : table.text();
  if (!command.output_path.empty()) {
    PLANISH_TRY(write_file_atomically(command.output_path, text));
    if (format != "text") fmt::print("{}", table.text());
  }
  if (command.output_path.empty() || format == "text") fmt::print("{}", text);
  if (format == "text")
    fmt::print("Latency: median at batch {}, engines timed in turns on {}.{}\n", batch,
               candidates[0].engine->summary().device,
               candidates[0].score
                   ? fmt::format(" Accuracy: {} pictures of {}.", candidates[0].score->pictures, command.judge.data)
                   : std::string(" No --eval data: accuracy was not measured."));
  return {};
}

Status compare(CompareCommand& command) {
  const std::vector<std::string> precisions = PLANISH_TRY(wanted_precisions(command));
  api::Model model = PLANISH_TRY(api::Model::read(command.path));
  if (model.has_quantize_nodes())
    warn("compare-precisions",
         fmt::format(
             "the model is quantised already: every row, fp32 too, computes with its own scales{}; give the FP32 "
             "model to see what quantising costs",
             command.calibration.path.empty() ? "" : ", and --calib is not used"));
  Trials trials = PLANISH_TRY(Trials::open("compare-precisions", std::move(model), command.build));
  const TemporaryFolder temporary;
  fs::path folder = temporary.path();
  if (!command.save_folder.empty()) {
    folder = command.save_folder;
    std::error_code error;
    fs::create_directories(folder, error);
    if (error)
      return Error{.code = Code::io, .file = folder.string(), .what = error.message(), .fix = "check the path"};
  }
  std::vector<Candidate> candidates = PLANISH_TRY(build_all(command, trials, precisions, folder));
  PLANISH_TRY(time_all(command, candidates));
  PLANISH_TRY(judge_all(command, candidates));
  return show(command, candidates);
}

}  // namespace

int compare_precisions_main(int argc, char** argv) {
  CompareCommand command;
  if (const auto code = command.line.parse(argc, argv)) return *code;
  const Status status = compare(command);
  return status.ok() ? 0 : fail("compare-precisions", status.error());
}

std::vector<std::string> compare_precisions_words() { return CompareCommand().line.words(); }

}  // namespace planish::tools
