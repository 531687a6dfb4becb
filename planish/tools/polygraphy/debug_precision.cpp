#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "planish/api/model_summary.h"
#include "planish/base/atomic_file.h"
#include "planish/tools/polygraphy/check_command.h"
#include "planish/tools/polygraphy/compare.h"
#include "planish/tools/polygraphy/engine_build.h"
#include "planish/tools/polygraphy/input_data.h"
#include "planish/tools/polygraphy/layer_marker.h"
#include "planish/tools/polygraphy/option_groups.h"
#include "planish/tools/polygraphy/runner.h"
#include "planish/tools/polygraphy/tool.h"

namespace planish::tools {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using enum Takes;

constexpr std::array kOptions{
    OptionDecl{"--mode", one, "MODE", "bisect (default) halves the number of layers, linear adds one at a time",
               "bisect,linear"},
    OptionDecl{"--dir,--direction", one, "DIRECTION", "from the network's inputs (forward, default) or outputs",
               "forward,reverse"},
    OptionDecl{"-p,--precision", one, "TYPE", "the higher precision (default float32)", "float32,float16"},
};

/// Nodes of the file that compute, in order; the "layers" that are counted.
std::vector<std::string> layer_names(const OnnxSummary& summary) {
  std::vector<std::string> names;
  for (const OnnxNodeSummary& node : summary.graph.nodes) {
    if (node.op == "Constant") continue;
    names.push_back(!node.name.empty() ? node.name : node.outputs.empty() ? node.op : node.outputs[0]);
  }
  return names;
}

/// Outputs in FP32, which iterations are compared with when no command checks them.
class Reference {
 public:
  Status compute(const std::string& model, const ParsedOptions& options, PolygraphyLog& log) {
    const auto data = PLANISH_TRY(make_input_data(options, log));
    ParsedOptions plain;
    for (const char* option : {"--input-shapes", "--trt-min-shapes", "--trt-opt-shapes", "--trt-max-shapes",
                               "--load-timing-cache", "--save-timing-cache", "--builder-optimization-level"})
      for (auto& values : options.occurrences(option)) plain.add(option, std::move(values));
    plain.add("--tf32", {});
    const auto runner = make_trt_runner("FP32", model, plain);
    PLANISH_TRY(runner->activate(log));
    PLANISH_TRY(data->prepare(runner->inputs()));
    while (true) {
      auto feed = PLANISH_TRY(data->next());
      if (!feed) break;
      const NamedTensors inputs = PLANISH_TRY(feed_for(*runner, *feed));
      outputs_.push_back(PLANISH_TRY(runner->infer(inputs)).outputs);
      feeds_.push_back(*std::move(feed));
    }
    if (feeds_.empty())
      return plain_error("The data loader provided no data to compare with", "check --load-inputs or the script");
    return {};
  }

  Result<bool> matches(const std::string& engine, const ParsedOptions& options, PolygraphyLog& log) const {
    const ParsedOptions none;
    const auto runner = make_trt_runner(engine, engine, none);
    PLANISH_TRY(runner->activate(log));
    const CompareOptions how = PLANISH_TRY(compare_options(options));
    AccuracyComparison comparison(log, how);
    for (size_t i = 0; i < feeds_.size(); ++i) {
      const NamedTensors inputs = PLANISH_TRY(feed_for(*runner, feeds_[i]));
      const auto inference = PLANISH_TRY(runner->infer(inputs));
      (void)PLANISH_TRY(comparison.add({{engine, &inference.outputs}, {"FP32", &outputs_[i]}}));
    }
    return comparison.finish();
  }

 private:
  std::vector<NamedTensors> feeds_;
  std::vector<NamedTensors> outputs_;
};

/// Outcomes of earlier iterations by key "_N3".
class Replay {
 public:
  Status load(const std::string& path) {
    if (path.empty()) return {};
    const Json json = Json::parse(PLANISH_TRY(read_file(path)), nullptr, false);
    if (!json.is_object())
      return Error{.code = Code::corrupt, .file = path, .what = "this is no debug replay", .fix = "leave it out"};
    for (const auto& [key, value] : json.items()) {
      const bool numbered = key.size() > 2 && key.size() < 12 && key.rfind("_N", 0) == 0 &&
                            key.find_first_not_of("0123456789", 2) == std::string::npos;
      if (numbered && value.is_object() && value.contains("success") && value["success"].is_boolean())
        outcomes_[key] = value["success"].get<bool>();
    }
    return {};
  }
  [[nodiscard]] const bool* find(const std::string& key) const {
    const auto it = outcomes_.find(key);
    return it == outcomes_.end() ? nullptr : &it->second;
  }
  void set(const std::string& key, bool success) { outcomes_[key] = success; }
  [[nodiscard]] Status save(const std::string& path) const {
    if (path.empty()) return {};
    Json json = Json::object();
    for (const auto& [key, success] : outcomes_) {
      Json entry{{"state", Json::object()}, {"iteration_info", {{"iteration", std::stoll(key.substr(2))}}}};
      entry["success"] = success;
      entry["polygraphy_class"] = "IterationContext";
      json[key] = std::move(entry);
    }
    return write_file_atomically(path, json.dump(4, ' ', false, Json::error_handler_t::replace));
  }

 private:
  std::map<std::string, bool> outcomes_;
};

class DebugPrecision {
 public:
  DebugPrecision(const ParsedOptions& options, PolygraphyLog& log) : options_(options), log_(log) {}

  Result<bool> run() {
    PLANISH_TRY(check());
    const OnnxSummary summary = PLANISH_TRY(summarise_onnx(model()));
    layers_ = layer_names(summary);
    artifact_ = options_.text("--iter-artifact", "polygraphy_debug.engine");
    std::error_code ignored;
    if (fs::exists(artifact_, ignored))
      return plain_error(fmt::format("{} already exists, refusing to overwrite.", artifact_),
                         "remove the file, or name another with --iter-artifact");
    const bool half = options_.text("-p", "float32") == "float16";
    precision_ = half ? DType::f16 : DType::f32;
    log_.print(PolygraphyLog::start, fmt::format("Using DataType.{} as higher precision", half ? "HALF" : "FLOAT"));
    marker_ = LayerMarker(static_cast<int64_t>(layers_.size()), options_.text("--mode", "bisect") == "linear");
    PLANISH_TRY(replay_.load(options_.text("--load-debug-replay")));
    if (!options_.has("--check")) PLANISH_TRY(reference_.compute(model(), options_, log_));
    return iterate();
  }

 private:
  [[nodiscard]] const std::string& model() const { return options_.positionals[0]; }
  [[nodiscard]] bool forward() const { return options_.text("--dir", "forward") == "forward"; }

  Status check() {
    if (PLANISH_TRY(polygraphy_model(model(), options_.text("--model-type"))) == PolygraphyModel::engine)
      return plain_error("The precision tool cannot work with engines, as they cannot be modified",
                         "give the ONNX model");
    const bool lower =
        options_.has("--fp16") || options_.has("--bf16") || options_.has("--int8") || options_.has("--tf32");
    if (!lower)
      return plain_error("Please enable at least one precision besides float32 (e.g. --int8, --fp16, --tf32)");
    const bool half = options_.text("-p") == "float16";
    if (half && !options_.has("--fp16"))
      return plain_error("Cannot mark layers to run in float16 if it is not enabled", "add --fp16");
    if (half && !options_.has("--int8"))
      log_.print(
          PolygraphyLog::warning,
          "Using float16 as the higher precision, but float16 is also the lowest precision available. Did you mean "
          "to set --int8 as well?");
    return {};
  }

  Result<bool> iterate() {
    int64_t index = 0, passed = 0;
    for (bool done = false; !done; ++index) {
      const LogIndent indent(log_);
      log_.print(PolygraphyLog::start, fmt::format("RUNNING | Iteration {} | Approximately {} iteration(s) remaining",
                                                   index + 1, marker_.remaining()));
      const auto begin = std::chrono::steady_clock::now();
      const bool success = PLANISH_TRY(iteration(index));
      passed += success ? 1 : 0;
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      log_.print(success ? PolygraphyLog::finish : PolygraphyLog::error,
                 fmt::format("{} | Iteration {} | Duration {}s", success ? "PASSED" : "FAILED", index + 1, seconds));
      done = marker_.step(success);
      if (done) report();
    }
    log_.print(PolygraphyLog::finish,
               fmt::format("Finished {} iteration(s) | Passed: {}/{} | Pass Rate: {}%", index, passed, index,
                           static_cast<double>(passed) * 100 / static_cast<double>(index)));
    return true;
  }

  /// Layers that run in the higher precision when `count` are marked.
  [[nodiscard]] std::vector<std::string> marked(int64_t count) const {
    const auto n = static_cast<std::ptrdiff_t>(count);
    if (forward()) return {layers_.begin(), layers_.begin() + n};
    return {layers_.end() - n, layers_.end()};
  }

  Result<bool> iteration(int64_t index) {
    const std::string key = fmt::format("_N{}", index);
    log_.print(PolygraphyLog::info, fmt::format("Selecting {} {} layer(s) to run in higher precision",
                                                forward() ? "first" : "last", marker_.marked()));
    if (const bool* known = replay_.find(key)) {
      log_.print(PolygraphyLog::info,
                 fmt::format("Loading iteration information from debug replay: success={}", *known ? "True" : "False"));
      return *known;
    }
    std::vector<std::pair<std::string, DType>> precisions;
    for (const std::string& name : marked(marker_.marked())) precisions.emplace_back(name, precision_);
    const auto engine = build_polygraphy_engine(model(), options_, log_, precisions);
    if (!engine.ok()) {
      log_.print(
          PolygraphyLog::warning,
          fmt::format("Failed to create network or engine, continuing to the next iteration.\nNote: Error was: {}",
                      engine.error().message()));
      return false;
    }
    PLANISH_TRY(save_polygraphy_engine(*engine, artifact_, log_));
    const auto judged = judge(index, key);
    if (!options_.has("--no-remove-intermediate")) {
      std::error_code error;
      fs::remove(artifact_, error);
      if (options_.has("--iter-info")) fs::remove(options_.text("--iter-info"), error);
    }
    return judged;
  }

  Result<bool> judge(int64_t index, const std::string& key) {
    if (options_.has("--iter-info"))
      PLANISH_TRY(
          write_file_atomically(options_.text("--iter-info"), fmt::format("{{\n    \"iteration\": {}\n}}", index)));
    auto outcome = options_.has("--check") ? run_check(options_, log_) : reference_.matches(artifact_, options_, log_);
    const bool success = PLANISH_TRY(std::move(outcome));
    sort_artifacts(options_, success, key, log_);
    replay_.set(key, success);
    PLANISH_TRY(replay_.save(options_.text("--save-debug-replay")));
    return success;
  }

  void report() {
    if (!marker_.found()) {
      log_.print(PolygraphyLog::error, "Could not find a configuration that satisfied accuracy requirements.");
      return;
    }
    log_.print(PolygraphyLog::finish,
               fmt::format("To achieve acceptable accuracy, try running the {} {} layer(s) in higher precision",
                           forward() ? "first" : "last", marker_.good()));
    const auto names = marked(marker_.good());
    if (names.empty()) return;
    std::string precisions;
    for (const std::string& name : names)
      precisions +=
          fmt::format("{}{}:{}", precisions.empty() ? "" : " ", name, precision_ == DType::f16 ? "float16" : "float32");
    log_.print(PolygraphyLog::finish, fmt::format("These are the ONNX nodes:\n{}", fmt::join(names, "\n")));
    log_.print(PolygraphyLog::finish,
               "Options for a build: --precision-constraints obey --layer-precisions " + precisions);
  }

  const ParsedOptions& options_;
  PolygraphyLog& log_;
  std::vector<std::string> layers_;
  std::string artifact_;
  DType precision_ = DType::f32;
  LayerMarker marker_{0, false};
  Reference reference_;
  Replay replay_;
};

}  // namespace

const ToolSyntax& debug_precision_syntax() {
  static const ToolSyntax kSyntax{
      "polygraphy debug precision",
      "model_file",
      1,
      1,
      {logging_options(),
       {"options", kOptions},
       check_options(),
       model_options(),
       build_options(),
       data_loader_options(),
       comparison_options(),
       onnx_options()},
      "Finds how many layers, counted from the network's inputs or outputs, must run in a higher precision for a check "
      "to "
      "pass, and names their ONNX nodes. Each iteration builds an engine, polygraphy_debug.engine, and checks it with "
      "a "
      "command, or by comparing its outputs with those in FP32 when none is given.",
      "  polygraphy run model.onnx --onnxrt --save-inputs inputs.json --save-outputs golden.json\n"
      "  polygraphy debug precision model.onnx --fp16 --check polygraphy run polygraphy_debug.engine --trt \\\n"
      "      --load-inputs inputs.json --load-outputs golden.json --atol 1e-3\n"
      "  polygraphy debug precision model.onnx --int8 --calibration-cache model.cache --load-inputs inputs.json \\\n"
      "      --compare cosine_similarity"};
  return kSyntax;
}

int debug_precision_main(const std::vector<std::string>& arguments) {
  return run_tool(debug_precision_syntax(), arguments, true,
                  [](const ParsedOptions& options, PolygraphyLog& log) { return DebugPrecision(options, log).run(); });
}

}  // namespace planish::tools
