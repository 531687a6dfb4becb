#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "planish/base/atomic_file.h"
#include "planish/base/output_path.h"
#include "planish/tools/calibration/obtain.h"
#include "planish/tools/console.h"
#include "planish/tools/judge.h"
#include "planish/tools/max_drop_search.h"
#include "planish/tools/measurement.h"
#include "planish/tools/node_patterns.h"
#include "planish/tools/planish_commands.h"
#include "planish/tools/sensitivity.h"
#include "planish/tools/trial.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kTimeLimitS = 900;
constexpr int64_t kSearchSamples = 8;
/// A file is made once and used often: its weights may take longer to adapt than those of a build.
constexpr double kAdaptWork = 5e11;

struct QuantizeCommand {
  std::string path, output_path, report_path;
  std::string style = "tensorrt", rounding = "auto", max_drop, data_path;
  std::vector<std::string> keep_float, force_int8;
  bool per_tensor = false, no_bias_correction = false, equalize = false, no_equalize = false, to_static = false,
       full_range = false, symmetric = false;
  double time_limit_s = kTimeLimitS;
  CalibrationArguments calibration;
  JudgeArguments judge;
  BuildArguments build;
  CommandLine line;

  QuantizeCommand()
      : line("quantize",
             "Writes an INT8 model: explicit Q/DQ nodes around what INT8 is worth it for, INT8 weights, ONNX that "
             "TensorRT, ONNX Runtime and OpenVINO take as it is. With --max-drop it looks for the fastest mix of INT8 "
             "and float that keeps the accuracy.",
             "  planish quantize resnet18.onnx --calib=calib_images --preset=cifar10 -o resnet18_qdq.onnx\n"
             "  planish quantize yolov8n.onnx --calib=calib_images --preset=yolo --eval=coco128 --max-drop=1% \\\n"
             "      -o yolov8n_qdq.onnx\n"
             "  trtexec --onnx=resnet18_qdq.onnx --int8 --saveEngine=resnet18_int8.engine\n"
             "  planish quantize bert_dynamic.onnx --to-static --calib=sentences.npz -o bert_static.onnx") {
    line.positional("MODEL.onnx", path, "The FP32 model");
    line.output("-o,--output", output_path, "FILE",
                "The Q/DQ model to write (default MODEL_qdq.onnx beside the model)");
    calibration.declare(line);
    line.choice("--style", style, {"tensorrt", "onnxruntime", "openvino"},
                "For whose fused layers Q/DQ nodes are placed (default tensorrt; every one of them runs all)");
    line.choice("--rounding", rounding, {"auto", "nearest", "adaptive"},
                "How weights are rounded: adaptive fits them to what the quantised layers in front leave on the "
                "calibration data; auto does so for layers where it takes seconds (default auto)");
    line.flag("--per-tensor", per_tensor, "One scale per weight tensor instead of one per output channel");
    line.flag("--no-bias-correction", no_bias_correction, "Leave biases as they are");
    line.flag("--full-range", full_range,
              "UINT8 with 255 steps for tensors that lie on one side of zero: up to half the rounding error (default "
              "for the styles onnxruntime and openvino; TensorRT does not take it)");
    line.flag("--symmetric", symmetric, "Symmetric INT8 for all tensors (default for the style tensorrt)");
    line.flag("--equalize", equalize,
              "Even out channels between layers before calibrating (default for symmetric INT8 calibrated on data, "
              "without --max-drop)");
    line.flag("--no-equalize", no_equalize, "Leave channels as they are");
    line.texts("--keep-float", keep_float, "NODE[,...]", "Nodes that stay in float; one * allowed: /head/*");
    line.texts("--force-int8", force_int8, "NODE[,...]", "Nodes to quantise even where it is not thought worth it");
    line.text("--max-drop", max_drop, "POINTS",
              "Largest loss of accuracy, in points: 1% or 0.5%; needs --eval, and may keep nodes in float");
    judge.declare(line, "Judge accuracy by this data");
    line.input("--data", data_path, "PATH", "Samples to rank nodes by, when --calib is a cache");
    line.number("--time-limit", time_limit_s, 1, 1e7, "SECONDS", "End the search after this long (default 900)");
    line.flag("--to-static", to_static, "Turn dynamic quantisation (DynamicQuantizeLinear) into calibrated Q/DQ");
    line.output("--report", report_path, "FILE", "Write what was quantised and why nodes were not, as JSON");
    build.declare_common(line);
  }
};

Error bad(std::string option, std::string what, std::string fix) {
  return Error{
      .code = Code::invalid_argument, .file = std::move(option), .what = std::move(what), .fix = std::move(fix)};
}

/// "1%", "1", "0.5%": points of the metric, as a share of one.
Result<double> parse_drop(const std::string& text) {
  const std::string number = text.ends_with('%') ? text.substr(0, text.size() - 1) : text;
  const auto points = parse_number(number, 0, 100, "--max-drop");
  if (!points.ok())
    return bad("--max-drop", fmt::format("'{}' is no number of points from 0 to 100", text),
               "write --max-drop=1% or --max-drop=0.5");
  return *points / 100;
}

Status check(const QuantizeCommand& command) {
  if (!command.max_drop.empty() && command.judge.data.empty())
    return bad("--max-drop", "needs labelled data to measure the accuracy on",
               "add --eval=labels.csv, --eval=FOLDER or --eval=images.npz");
  if (command.full_range && command.symmetric)
    return bad("--full-range", "is the opposite of --symmetric", "give one of the two");
  if (command.equalize && command.no_equalize)
    return bad("--equalize", "is the opposite of --no-equalize", "give one of the two");
  if (command.full_range && command.style == "tensorrt")
    warn("quantize", "--full-range writes UINT8, which TensorRT does not take: add --style=onnxruntime or openvino");
  if (command.max_drop.empty() && !command.judge.data.empty())
    warn("quantize", "--eval is not used without --max-drop; planish compare-precisions measures accuracy");
  return {};
}

bool full_range_of(const QuantizeCommand& command) {
  return command.full_range || (command.style != "tensorrt" && !command.symmetric);
}

/// Evening channels out gains most where 127 steps must do for all of them; adapting the weights makes up for its cost.
Result<bool> equalises(const QuantizeCommand& command, const api::Model& model) {
  if (command.equalize || command.no_equalize) return command.equalize;
  if (full_range_of(command) || command.rounding != "auto" || command.per_tensor || command.no_bias_correction ||
      !command.max_drop.empty())
    return false;
  return api::can_equalise(model);
}

api::QuantizeOptions options_of(const QuantizeCommand& command) {
  api::QuantizeOptions options;
  options.style = command.style == "onnxruntime" ? api::QuantizeStyle::onnxruntime
                  : command.style == "openvino"  ? api::QuantizeStyle::openvino
                                                 : api::QuantizeStyle::tensorrt;
  options.rounding = command.rounding == "adaptive" ? api::RoundingMethod::adaptive : api::RoundingMethod::nearest;
  options.per_channel = !command.per_tensor;
  options.bias_correction = !command.no_bias_correction;
  options.full_range = full_range_of(command);
  // ONNX Runtime adds two products in 16 bits where there is no VNNI, and saturates.
  const bool saturates = command.style == "onnxruntime" && *options.full_range;
  options.weight_range = saturates ? api::WeightRange::seven_bits : api::WeightRange::full;
  options.keep_float = node_patterns(command.keep_float);
  options.force_int8 = node_patterns(command.force_int8);
  options.warn = [](const std::string& text) { warn("quantize", text); };
  return options;
}

/// Samples to rank nodes by: --data, else what was calibrated on, else pictures of --eval.
Result<std::vector<NamedTensors>> ranking_samples(const QuantizeCommand& command, const api::Model& model,
                                                  Calibration& calibration, const api::ProfileRanges& shapes) {
  if (command.data_path.empty() && calibration.source != nullptr)
    return first_batches(*calibration.source, kSearchSamples);
  CalibrationArguments arguments = command.calibration;
  arguments.path = command.data_path.empty() ? command.judge.data : command.data_path;
  CalibrationRequest request = PLANISH_TRY(arguments.request("quantize", command.build.threads));
  request.place.shapes = shapes;
  request.place.max_samples = kSearchSamples;
  request.place.model = &model;
  const auto source = PLANISH_TRY(open_calibration_source(request.place, model.inputs(), model.outputs()));
  return first_batches(*source, kSearchSamples);
}

/// What --max-drop found.
struct Search {
  double max_drop = 0;
  int64_t pictures = 0;
  SearchResult result;
};

std::string points_number(double share) { return fmt::format("{:.2f}", share * 100); }

/// Why no node of the file is in INT8, and what would change that.
std::string all_float_text(const Search& search) {
  const SearchResult& result = search.result;
  const size_t nodes = result.chosen.kept.size();
  if (nodes == 0) return "no node of the model can be in INT8: it is written in float";
  const auto keeps = [nodes](const MixTrial& trial) { return trial.enough && trial.kept.size() < nodes; };
  if (std::ranges::any_of(result.trials, keeps))
    return fmt::format(
        "no mix with INT8 that loses at most {} points is faster than float: the model is written in "
        "float, without any INT8 node",
        points_number(search.max_drop));
  const MixTrial* nearest = result.nearest_miss(nodes);
  std::string text = fmt::format("no mix with INT8 was found{} that loses at most {} points",
                                 result.timed_out ? " within the time limit" : "", points_number(search.max_drop));
  if (nearest != nullptr)
    text += fmt::format(" (the nearest, {} nodes in float, loses {})", nearest->kept.size(),
                        points_number(result.in_float.score.value - nearest->measured.score.value));
  text += ": the model is written in float, without any INT8 node";
  if (result.only_in_fp32) text += "; float layers in half precision lose more than that too: build it in FP32";
  if (result.timed_out) text += "; a longer --time-limit may find one";
  return text;
}

void report_search(const Search& search) {
  const SearchResult& result = search.result;
  const Measured& fp32 = result.in_float;
  const Measured& int8 = result.trials.front().measured;
  const Measured& chosen = result.chosen.measured;
  if (result.all_float) warn("quantize", all_float_text(search));
  if (result.loses_time())
    warn("quantize", fmt::format("INT8 was measured slower than FP32 here ({} against {}): build in FP32 for this "
                                 "machine, or search again when nothing else loads it",
                                 milliseconds_text(chosen.ms), milliseconds_text(fp32.ms)));
  fmt::print("{}: FP32 {}, all in INT8 {}, chosen {} ({}; at most {} may be lost)\n", fp32.score.metric,
             percent_text(fp32.score.value), percent_text(int8.score.value), percent_text(chosen.score.value),
             points_text(chosen.score.value - fp32.score.value), points_number(search.max_drop));
  fmt::print("Measured time: FP32 {}, all in INT8 {}, chosen {}\n", milliseconds_text(fp32.ms),
             milliseconds_text(int8.ms), milliseconds_text(chosen.ms));
  fmt::print("{} mixes were built and judged{}\n", result.trials.size(),
             result.timed_out ? "; the time limit ended the search" : "");
  if (result.chosen.kept.empty() || result.all_float) return;
  Table table({{"Kept in float", false, 60}, {"Output error alone", true}, {"INT8 would save (ms)", true}});
  std::vector<std::string> names;
  for (const NodeSensitivity& node : result.chosen.kept) {
    table.add({node.node, fmt::format("{:.5f}", node.output_error), fmt::format("{:+.4f}", node.saved_ms())});
    names.push_back(node.node);
  }
  fmt::print("{}The same for a build from the FP32 model:\n  --precisionConstraints=obey --layerPrecisions={}\n",
             table.text(), layer_precisions_text(names));
}

/// Milliseconds of a run. The shortest one: what else the machine does in between is no property of the mix.
Result<double> run_ms(const api::Engine& engine, int64_t threads) {
  const InputTensors inputs = PLANISH_TRY(random_inputs(engine, "", 1));
  LatencyOptions options;
  options.iterations = 5;
  options.warm_up_ms = 50;
  options.duration_s = 0.25;
  options.threads = threads;
  const Latency latency = PLANISH_TRY(measure_latency(engine, inputs, options));
  return *std::ranges::min_element(latency.latencies_ms);
}

/// Adds to `options.keep_float` what the accuracy needs. It is counted against the model as it was given, in FP32.
Result<Search> search(const QuantizeCommand& command, double max_drop, const Judge& judge, Trials& trials,
                      Calibration& calibration, api::QuantizeOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const auto after = [start](double seconds) {
    return start + std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
  };
  const bool fp16 = command.build.fp16 || command.build.best, bf16 = command.build.bf16 || command.build.best;
  const api::ProfileRanges shapes =
      trials.config().profiles.empty() ? api::ProfileRanges{} : trials.config().profiles[0];
  const auto samples = PLANISH_TRY(ranking_samples(command, trials.model(), calibration, shapes));
  const QuantisableNodes all = PLANISH_TRY(quantisable_nodes(trials.model(), calibration.table, options));
  // A third of the time ranks nodes; those that it does not reach count as harmless.
  Progress progress("Ranking");
  auto nodes = PLANISH_TRY(measure_sensitivity(
      trials, calibration.table, options, all.nodes, samples, after(command.time_limit_s / 3),
      [&progress](std::string_view stage, int64_t done, int64_t total) { progress.update(stage, done, total); }));
  progress.finish();
  for (size_t i = nodes.size(); i < all.nodes.size(); ++i) nodes.push_back({.node = all.nodes[i]});
  const auto measure = [&](const api::Engine& engine) -> Result<Measured> {
    return Measured{.score = PLANISH_TRY(judge.score(engine)),
                    .ms = PLANISH_TRY(run_ms(engine, command.build.threads))};
  };
  const api::Engine in_float = PLANISH_TRY(trials.build([](api::BuildConfig&) {}, "FP32"));
  const Measured fp32 = PLANISH_TRY(measure(in_float));
  api::Model quantised = PLANISH_TRY(api::quantize(trials.model(), calibration.table, options));
  const api::Engine in_int8 = PLANISH_TRY(trials.build_model(std::move(quantised), trials.config(), "INT8"));
  PLANISH_TRY(add_times(in_float, in_int8, nodes));
  const size_t count = nodes.size();
  const auto try_mix = [&](const std::vector<NodeSensitivity>& kept) -> Result<Measured> {
    if (kept.size() == count && !fp16 && !bf16) return fp32;
    api::QuantizeOptions mixed = options;
    mixed.progress = nullptr;
    mixed.warn = nullptr;
    for (const NodeSensitivity& node : kept) mixed.keep_float.push_back(node.node);
    if (mixed.data != nullptr) PLANISH_TRY(mixed.data->rewind());
    api::Model mix = PLANISH_TRY(api::quantize(trials.model(), calibration.table, mixed));
    api::BuildConfig config = trials.config();
    config.fp16 = fp16;
    config.bf16 = bf16;
    return measure(PLANISH_TRY(trials.build_model(std::move(mix), std::move(config),
                                                  fmt::format("INT8 with {} nodes in float", kept.size()))));
  };
  Search found{.max_drop = max_drop, .pictures = judge.pictures()};
  found.result = PLANISH_TRY(
      search_mix(fp32, std::move(nodes), {.max_drop = max_drop, .deadline = after(command.time_limit_s)}, try_mix,
                 [](const std::string& text) { fmt::print(stderr, "planish quantize: {}\n", text); }));
  for (const NodeSensitivity& node : found.result.chosen.kept) options.keep_float.push_back(node.node);
  report_search(found);
  return found;
}

/// Says of nodes that the search kept in float that it did.
void name_search_as_reason(const SearchResult& result, api::QuantizeReport& report) {
  std::set<std::string> kept;
  for (const NodeSensitivity& node : result.chosen.kept) kept.insert(node.node);
  for (api::FloatNode& node : report.float_nodes)
    if (kept.contains(node.node.substr(0, node.node.find(" + ")))) node.reason = "kept in float to keep the accuracy";
}

Json search_json(const Search& search) {
  const SearchResult& result = search.result;
  const auto names = [](const MixTrial& trial) {
    Json list = Json::array();
    for (const NodeSensitivity& node : trial.kept) list.push_back(node.node);
    return list;
  };
  const auto row = [&](const MixTrial& trial) {
    return Json{{"accuracy", trial.measured.score.value},
                {"drop", result.in_float.score.value - trial.measured.score.value},
                {"ms", trial.measured.ms},
                {"keeps_limit", trial.enough},
                {"kept_in_float", names(trial)}};
  };
  Json json{{"max_drop", search.max_drop},      {"metric", result.in_float.score.metric},
            {"pictures", search.pictures},      {"fp32_accuracy", result.in_float.score.value},
            {"fp32_ms", result.in_float.ms},    {"limit_kept", result.chosen.enough},
            {"all_in_float", result.all_float}, {"only_in_fp32", result.only_in_fp32},
            {"timed_out", result.timed_out},    {"chosen", row(result.chosen)},
            {"trials", Json::array()}};
  for (const MixTrial& trial : result.trials) json["trials"].push_back(row(trial));
  return json;
}

std::string report_json(const QuantizeCommand& command, const api::QuantizeReport& report,
                        const api::CalibrationTable& table, const std::optional<Search>& found) {
  Json json{{"model", command.path},       {"output", command.output_path},
            {"style", command.style},      {"calibration", table.description},
            {"samples", table.samples},    {"quantised_nodes", report.quantised_nodes},
            {"float_nodes", Json::array()}};
  for (const api::FloatNode& node : report.float_nodes)
    json["float_nodes"].push_back({{"node", node.node}, {"reason", node.reason}});
  if (found) json["search"] = search_json(*found);
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

void print_report(const QuantizeCommand& command, const api::QuantizeReport& report) {
  std::error_code ignored;
  const auto before = std::filesystem::file_size(command.path, ignored);
  const auto after = std::filesystem::file_size(command.output_path, ignored);
  fmt::print("{}: {} nodes in INT8, {} (the model was {})\n", command.output_path, report.quantised_nodes,
             bytes_text(static_cast<int64_t>(after)), bytes_text(static_cast<int64_t>(before)));
  constexpr size_t kNames = 4;
  std::vector<std::pair<std::string, std::vector<std::string>>> groups;
  for (const api::FloatNode& node : report.float_nodes) {
    auto it = std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return g.first == node.reason; });
    if (it == groups.end()) it = groups.insert(groups.end(), {node.reason, {}});
    it->second.push_back(node.node);
  }
  for (const auto& [reason, nodes] : groups) {
    const size_t shown = std::min(nodes.size(), kNames);
    fmt::print("  in float, {}: {}{}\n", reason,
               fmt::join(nodes.begin(), nodes.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
               nodes.size() > shown ? fmt::format(" and {} more", nodes.size() - shown) : "");
  }
}

/// The model with float layers where it was dynamically quantised.
Result<api::Model> static_form(const QuantizeCommand& command, const api::Model& model) {
  api::DynamicReport report;
  api::Model form = PLANISH_TRY(api::dynamic_to_static(model, &report));
  if (report.products == 0 && report.left == 0)
    return Error{.code = Code::invalid_argument,
                 .file = command.path,
                 .what = "nothing in the model is dynamically quantised",
                 .fix = "leave --to-static out for models without DynamicQuantizeLinear"};
  fmt::print(stderr, "planish quantize: {} dynamically quantised products became float layers to calibrate\n",
             report.products);
  if (report.left > 0)
    warn("quantize", fmt::format("{} others are in a form that is not known and stay as they are", report.left));
  return form;
}

api::CalibrationTable without_adapted_weights(api::CalibrationTable table) {
  table.adapted_weights.clear();
  if (table.equalised != nullptr) {
    api::CalibrationTable equalised = *table.equalised;
    equalised.adapted_weights.clear();
    table.equalised = std::make_shared<const api::CalibrationTable>(std::move(equalised));
  }
  return table;
}

Status quantize(QuantizeCommand& command) {
  PLANISH_TRY(check(command));
  double max_drop = 0;
  std::optional<Judge> judge;
  if (!command.max_drop.empty()) {  // before anything that takes long
    max_drop = PLANISH_TRY(parse_drop(command.max_drop));
    judge = PLANISH_TRY(
        Judge::open(command.judge.data, command.calibration.preprocess, command.judge.limit, command.build.threads));
  }
  if (command.output_path.empty()) {
    const std::filesystem::path path(command.path);
    command.output_path = (path.parent_path() / (path.stem().string() + "_qdq.onnx")).string();
    PLANISH_TRY(check_output_path(command.output_path));
  }
  api::Model model = PLANISH_TRY(api::Model::read(command.path));
  if (command.to_static) model = PLANISH_TRY(static_form(command, model));
  PLANISH_TRY(refuse_quantised(model, command.path, "add --to-static, which calibrates it, or give the FP32 model"));
  command.build.default_batch = trial_batch(model);
  Trials trials = PLANISH_TRY(Trials::open("quantize", std::move(model), command.build));
  const api::ProfileRanges shapes =
      trials.config().profiles.empty() ? api::ProfileRanges{} : trials.config().profiles[0];
  api::QuantizeOptions options = options_of(command);
  for (const auto& [option, patterns] :
       {std::pair{"--keep-float", options.keep_float}, std::pair{"--force-int8", options.force_int8}})
    for (const std::string& text : unmatched_pattern_warnings(option, patterns, trials.model().node_names()))
      warn("quantize", text);
  command.calibration.full_range = options.full_range;
  command.calibration.weight_range = options.weight_range;
  // Rounding anew for what --rounding=adaptive asks is quantize()'s work.
  options.equalization = PLANISH_TRY(equalises(command, trials.model()));
  command.calibration.equalization = options.equalization;
  command.calibration.adapt_weights = command.rounding == "auto";
  command.calibration.adapt_work = kAdaptWork;
  Calibration calibration = PLANISH_TRY(
      calibrate_with_progress("quantize", trials.model(), command.calibration, shapes, command.build.threads));
  if (command.rounding == "nearest") calibration.table = without_adapted_weights(std::move(calibration.table));
  options.data = calibration.source.get();
  // A cache decides: with one that knows the equalised network the file comes out as the one it was made for.
  if (options.data == nullptr && calibration.table.equalised == nullptr) options.equalization = command.equalize;
  std::optional<Search> found;
  if (judge) found = PLANISH_TRY(search(command, max_drop, *judge, trials, calibration, options));
  if (options.data != nullptr) PLANISH_TRY(options.data->rewind());
  Progress progress("Quantising");
  options.progress = [&progress](std::string_view stage, size_t done, size_t total) {
    progress.update(stage, static_cast<int64_t>(done), static_cast<int64_t>(total));
  };
  api::QuantizeReport report;
  const api::Model quantised = PLANISH_TRY(api::quantize(trials.model(), calibration.table, options, &report));
  progress.finish();
  if (found) name_search_as_reason(found->result, report);
  PLANISH_TRY(quantised.write(command.output_path));
  print_report(command, report);
  if (command.report_path.empty()) return {};
  return write_file_atomically(command.report_path, report_json(command, report, calibration.table, found));
}

}  // namespace

int quantize_main(int argc, char** argv) {
  QuantizeCommand command;
  if (const auto code = command.line.parse(argc, argv)) return *code;
  const Status status = quantize(command);
  return status.ok() ? 0 : fail("quantize", status.error());
}

std::vector<std::string> quantize_words() { return QuantizeCommand().line.words(); }

}  // namespace planish::tools
