#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "planish/api/model_summary.h"
#include "planish/base/atomic_file.h"
#include "planish/tools/calibration/obtain.h"
#include "planish/tools/console.h"
#include "planish/tools/histogram_report.h"
#include "planish/tools/planish_commands.h"
#include "planish/tools/sensitivity.h"

namespace planish::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kSamples = 16;
constexpr double kTimeLimitS = 600;

struct SensitivityCommand {
  std::string path, data_path, format = "text", json_path, histograms;
  int64_t samples = kSamples, top = 0;
  double time_limit_s = kTimeLimitS;
  bool no_times = false;
  CalibrationArguments calibration;
  JudgeArguments judge;
  BuildArguments build;
  CommandLine line;

  SensitivityCommand()
      : line("sensitivity",
             "Says where INT8 hurts: puts one ONNX node after the other into INT8 and measures what that does to the "
             "network's outputs (and to its accuracy, with --eval), and how much time it saves. Ends with the text for "
             "--layerPrecisions that keeps the worst nodes in float.",
             "  planish sensitivity yolov8n.onnx --calib=calib_images --preset=yolo --histograms=report/\n"
             "  planish sensitivity resnet18.onnx --calib=model.cache --data=calib_images --eval=test.npz\n"
             "  trtexec --onnx=yolov8n.onnx --int8 --calib=calib_images --precisionConstraints=obey \\\n"
             "      --layerPrecisions=/model.22/dfl/conv/Conv:fp32") {
    line.positional("MODEL.onnx", path, "The FP32 model");
    calibration.declare(line);
    line.input("--data", data_path, "PATH", "Samples to measure on, as --calib takes them (default: those of --calib)");
    line.integer("--samples", samples, 1, 100000, "Samples to measure the output error on (default 16)");
    judge.declare(line, "Measure the accuracy that each node costs on this data");
    line.number("--time-limit", time_limit_s, 1, 1e7, "SECONDS",
                "Stop measuring this long after calibration (default 600)");
    line.integer("--top", top, 1, 100000, "Keep this many nodes in float in the printed --layerPrecisions");
    line.flag("--no-times", no_times, "Do not build tuned engines for the time that each node saves");
    line.choice("--format", format, {"text", "markdown", "csv"}, "How the table is printed (default text)");
    line.output("--json", json_path, "FILE", "Write everything as JSON");
    line.output_folder("--histograms", histograms, "DIR", "Write histograms.json and a drawing (SVG) per tensor");
    build.declare_common(line);
  }
};

/// Where samples come from: --data, else what was calibrated on.
Result<std::vector<NamedTensors>> samples_of(const SensitivityCommand& command, const api::Model& model,
                                             Calibration& calibration, const api::ProfileRanges& shapes) {
  if (!command.data_path.empty()) {
    CalibrationArguments arguments = command.calibration;
    arguments.path = command.data_path;
    CalibrationRequest request = PLANISH_TRY(arguments.request("sensitivity", command.build.threads));
    request.place.shapes = shapes;
    request.place.model = &model;
    const auto source = PLANISH_TRY(open_calibration_source(request.place, model.inputs(), model.outputs()));
    return first_batches(*source, command.samples);
  }
  if (calibration.source != nullptr) return first_batches(*calibration.source, command.samples);
  return Error{.code = Code::invalid_argument,
               .file = "--data",
               .what = "a calibration cache holds no samples to measure on",
               .fix = "add --data=FOLDER or another source of samples, or calibrate on data: --calib=FOLDER"};
}

/// Noise of the tensor that each node reads, where calibration has just seen it.
void add_input_noise(const std::string& path, const api::CalibrationTable& table, std::vector<NodeSensitivity>& nodes) {
  const auto summary = summarise_onnx(path);
  if (!summary.ok()) return;
  std::map<std::string, std::string> input_of;
  for (const OnnxNodeSummary& node : summary->graph.nodes)
    if (!node.inputs.empty()) input_of[node.name] = node.inputs[0];
  std::map<std::string, const api::RangeHistogram*> histogram_of;
  for (const api::RangeHistogram& histogram : table.histograms) histogram_of[histogram.tensor] = &histogram;
  for (NodeSensitivity& node : nodes) {
    const auto histogram = histogram_of.find(input_of[node.node]);
    const auto range = table.ranges.find(input_of[node.node]);
    if (histogram == histogram_of.end() || range == table.ranges.end()) continue;
    const api::TensorRange& r = range->second;
    node.input_snr_db = r.unsigned_scale > 0
                            ? quantisation_snr_db(*histogram->second, static_cast<double>(r.unsigned_scale),
                                                  std::max(r.unsigned_zero, 255 - r.unsigned_zero))
                            : quantisation_snr_db(*histogram->second, static_cast<double>(r.scale));
  }
}

/// Accuracy with each node alone in INT8, worst output error first, until the time is over.
Status add_metric(const SensitivityCommand& command, Trials& trials, const api::CalibrationTable& table,
                  const std::vector<std::string>& names, std::vector<NodeSensitivity>& nodes, Deadline deadline) {
  if (command.judge.data.empty()) return {};
  const Judge judge = PLANISH_TRY(
      Judge::open(command.judge.data, command.calibration.preprocess, command.judge.limit, command.build.threads));
  api::BuildConfig quick = trials.config();
  quick.optimization_level = 0;
  const api::Engine reference = PLANISH_TRY(api::Engine::build(trials.model().clone(), quick));
  const Score base = PLANISH_TRY(judge.score(reference));
  Progress progress("Measuring accuracy");
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (std::chrono::steady_clock::now() > deadline) {
      progress.finish();
      warn("sensitivity", fmt::format("the time limit came after the accuracy of {} of {} nodes", i, nodes.size()));
      break;
    }
    progress.update("nodes", static_cast<int64_t>(i), static_cast<int64_t>(nodes.size()));
    api::QuantizeOptions alone = api::int8_build_options();
    alone.keep_float = all_but(names, {nodes[i].node});
    api::Model quantised = PLANISH_TRY(api::quantize(trials.model(), table, alone));
    const api::Engine engine = PLANISH_TRY(api::Engine::build(std::move(quantised), quick));
    nodes[i].metric_drop = base.value - PLANISH_TRY(judge.score(engine)).value;
  }
  return {};
}

Status add_tuned_times(const SensitivityCommand& command, Trials& trials, const api::CalibrationTable& table,
                       std::vector<NodeSensitivity>& nodes) {
  if (command.no_times || command.build.optimization_level == 0) return {};
  const api::Engine in_float = PLANISH_TRY(trials.build([](api::BuildConfig&) {}, "FP32"));
  api::Model quantised = PLANISH_TRY(api::quantize(trials.model(), table, api::int8_build_options()));
  const api::Engine in_int8 = PLANISH_TRY(trials.build_model(std::move(quantised), trials.config(), "INT8"));
  return add_times(in_float, in_int8, nodes);
}

Table table_of(const std::vector<NodeSensitivity>& nodes, bool judged, bool csv) {
  // A spreadsheet wants numbers, and units in the heads of the columns.
  std::vector<Table::Column> columns{
      {"ONNX node", false, 60}, {"Output error", true}, {csv ? "Input SNR (dB)" : "Input SNR", true}};
  if (judged) columns.push_back({csv ? "Metric drop (points)" : "Metric drop", true});
  columns.insert(columns.end(), {{"FP32 (ms)", true}, {"INT8 (ms)", true}, {"Saved (ms)", true}});
  Table table(std::move(columns));
  for (const NodeSensitivity& n : nodes) {
    std::vector<std::string> row{n.node, fmt::format("{:.5f}", n.output_error),
                                 n.input_snr_db ? fmt::format("{:.1f}{}", *n.input_snr_db, csv ? "" : " dB") : ""};
    if (judged)
      row.push_back(!n.metric_drop ? ""
                    : csv          ? fmt::format("{:.4f}", *n.metric_drop * 100)
                                   : points_text(*n.metric_drop));
    const bool timed = n.float_ms > 0 || n.int8_ms > 0;
    row.push_back(timed ? fmt::format("{:.4f}", n.float_ms) : "");
    row.push_back(timed ? fmt::format("{:.4f}", n.int8_ms) : "");
    row.push_back(timed ? fmt::format("{:+.4f}", n.saved_ms()) : "");
    table.add(std::move(row));
  }
  return table;
}

/// The nodes that cause most of the squared error, but no more than a quarter of all: beyond that INT8 is the wrong
/// answer, not the node.
std::vector<std::string> worst_nodes(const std::vector<NodeSensitivity>& nodes, int64_t top) {
  constexpr double kShare = 0.8;
  constexpr size_t kAtMost = 4;
  std::vector<std::string> names;
  double total = 0, covered = 0;
  for (const NodeSensitivity& node : nodes) total += node.output_error * node.output_error;
  for (const NodeSensitivity& node : nodes) {
    const bool enough = top > 0 ? static_cast<int64_t>(names.size()) >= top
                                : covered >= kShare * total || names.size() * kAtMost >= nodes.size();
    if (enough) break;
    covered += node.output_error * node.output_error;
    names.push_back(node.node);
  }
  return names;
}

Status write_json(const SensitivityCommand& command, const std::vector<NodeSensitivity>& nodes,
                  const std::vector<std::string>& worst, const QuantisableNodes& all) {
  if (command.json_path.empty()) return {};
  Json json{{"model", command.path}, {"calibration", command.calibration.path}, {"nodes", Json::array()}};
  for (const NodeSensitivity& n : nodes) {
    Json row{{"node", n.node}, {"output_error", n.output_error}};
    if (n.input_snr_db) row["input_snr_db"] = *n.input_snr_db;
    if (n.metric_drop) row["metric_drop"] = *n.metric_drop;
    row["fp32_ms"] = n.float_ms;
    row["int8_ms"] = n.int8_ms;
    json["nodes"].push_back(std::move(row));
  }
  std::vector<std::string> measured;
  for (const NodeSensitivity& n : nodes) measured.push_back(n.node);
  json["unmeasured"] = all_but(all.nodes, measured);
  json["stopped_early"] = nodes.size() < all.nodes.size();
  json["in_float"] = Json::array();
  for (const api::FloatNode& node : all.float_nodes)
    json["in_float"].push_back({{"node", node.node}, {"reason", node.reason}});
  json["layer_precisions"] = layer_precisions_text(worst);
  return write_file_atomically(command.json_path, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

Status report(const SensitivityCommand& command, const std::vector<NodeSensitivity>& nodes,
              const QuantisableNodes& all) {
  const Table table = table_of(nodes, !command.judge.data.empty(), command.format == "csv");
  const std::vector<std::string> worst = worst_nodes(nodes, command.top);
  if (nodes.empty() && command.format == "text") {
    if (all.nodes.empty())
      fmt::print("No node of this model would run in INT8, so that there is nothing to compare.\n");
    else
      fmt::print("None of the {} nodes that INT8 is for was measured: the time limit came first.\n", all.nodes.size());
    for (const api::FloatNode& node : all.float_nodes) fmt::print("In float: {}: {}\n", node.node, node.reason);
    return write_json(command, nodes, worst, all);
  }
  fmt::print("{}", command.format == "markdown" ? table.markdown()
                   : command.format == "csv"    ? table.csv()
                                                : table.text());
  if (command.format == "text") {
    fmt::print("\nOutput error: relative L2 difference of the outputs when that node alone is in INT8.\n");
    for (const api::FloatNode& node : all.float_nodes) fmt::print("In float anyway: {}: {}\n", node.node, node.reason);
    fmt::print("To keep the {} worst in float:\n  --precisionConstraints=obey --layerPrecisions={}\n", worst.size(),
               layer_precisions_text(worst));
  }
  return write_json(command, nodes, worst, all);
}

Status sensitivity(SensitivityCommand& command) {
  api::Model model = PLANISH_TRY(api::Model::read(command.path));
  PLANISH_TRY(refuse_quantised(model, command.path,
                               "give the FP32 model; `planish quantize --to-static --calib=...` "
                               "makes calibrated Q/DQ of this one"));
  command.build.default_batch = trial_batch(model);
  Trials trials = PLANISH_TRY(Trials::open("sensitivity", std::move(model), command.build));
  const api::ProfileRanges shapes =
      trials.config().profiles.empty() ? api::ProfileRanges{} : trials.config().profiles[0];
  Calibration calibration = PLANISH_TRY(
      calibrate_with_progress("sensitivity", trials.model(), command.calibration, shapes, command.build.threads));
  if (!command.histograms.empty()) {
    PLANISH_TRY(write_histograms(command.histograms, calibration.table));
    if (calibration.table.histograms.empty())
      warn("sensitivity", "a calibration cache holds no histograms: none were drawn");
  }
  const auto samples = PLANISH_TRY(samples_of(command, trials.model(), calibration, shapes));
  const api::QuantizeOptions numbers = api::int8_build_options();
  const QuantisableNodes all = PLANISH_TRY(quantisable_nodes(trials.model(), calibration.table, numbers));
  // The limit is on measuring: how long the calibration took says nothing about it.
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(static_cast<int64_t>(command.time_limit_s * 1000));
  Progress progress("Measuring");
  auto nodes = PLANISH_TRY(measure_sensitivity(
      trials, calibration.table, numbers, all.nodes, samples, deadline,
      [&progress](std::string_view stage, int64_t done, int64_t total) { progress.update(stage, done, total); }));
  progress.finish();
  if (nodes.size() < all.nodes.size())
    warn("sensitivity", fmt::format("the time limit came after {} of {} nodes", nodes.size(), all.nodes.size()));
  std::stable_sort(nodes.begin(), nodes.end(),
                   [](const NodeSensitivity& a, const NodeSensitivity& b) { return a.output_error > b.output_error; });
  add_input_noise(command.path, calibration.table, nodes);
  PLANISH_TRY(add_metric(command, trials, calibration.table, all.nodes, nodes, deadline));
  PLANISH_TRY(add_tuned_times(command, trials, calibration.table, nodes));
  return report(command, nodes, all);
}

}  // namespace

int sensitivity_main(int argc, char** argv) {
  SensitivityCommand command;
  if (const auto code = command.line.parse(argc, argv)) return *code;
  const Status status = sensitivity(command);
  return status.ok() ? 0 : fail("sensitivity", status.error());
}

std::vector<std::string> sensitivity_words() { return SensitivityCommand().line.words(); }

}  // namespace planish::tools
