#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "planish/api/engine.h"
#include "planish/base/output_path.h"
#include "planish/tools/calibration/obtain.h"
#include "planish/tools/command_line.h"
#include "planish/tools/console.h"
#include "planish/tools/int8_summary.h"
#include "planish/tools/layer_list.h"
#include "planish/tools/open_engine.h"
#include "planish/tools/planish_commands.h"

namespace planish::tools {
namespace {

constexpr size_t kSlowestShown = 5;

struct BuildCommand {
  std::string model_path;
  std::string output_path;
  std::string retune_path;
  bool int8 = false;
  bool no_float_fallback = false;
  CalibrationArguments calibration;
  BuildArguments build;
  CommandLine line;

  BuildCommand()
      : line("build",
             "Builds an engine from an ONNX model: optimises the graph, times the implementations of every "
             "layer on this machine and keeps the fastest combination.",
             "  planish build resnet50.onnx -o resnet50.engine --minShapes=input:1x3x224x224 \\\n"
             "      --optShapes=input:4x3x224x224 --maxShapes=input:8x3x224x224 --fp16\n"
             "  planish inspect resnet50.engine --layers\n\n"
             "  planish build resnet50.onnx -o resnet50_int8.engine --int8 --calib=images/ --preset=imagenet\n\n"
             "  planish build --retune=resnet50.engine    # tune an engine that came from elsewhere, in place") {
    line.positional("MODEL.onnx", model_path, "The model; left out with --retune", false);
    line.output("-o,--output", output_path, "FILE",
                "Engine file to write; an existing one is replaced when all went well");
    build.declare_all(line);
    line.flag("--int8", int8, "Let INT8 compete; ranges come from --calib or from the model's Q/DQ nodes");
    line.flag("--no-float-fallback", no_float_fallback,
              "Keep layers in INT8 that are faster in float; the float form is not timed");
    calibration.declare(line);
    line.text("--retune", retune_path, "E.engine",
              "Choose layouts and tactics of an engine again on this machine, in place (or into -o)");
  }
};

Error missing(std::string what, std::string fix) {
  return Error{.code = Code::invalid_argument, .what = std::move(what), .fix = std::move(fix)};
}

std::string options_json(const api::BuildConfig& config) {
  nlohmann::ordered_json json;
  json["fp16"] = config.fp16;
  json["bf16"] = config.bf16;
  json["int8"] = config.int8;
  json["builderOptimizationLevel"] = config.optimization_level;
  json["avgTiming"] = config.avg_timing;
  if (!config.disabled_passes.empty()) json["disabled_passes"] = config.disabled_passes;
  if (!config.disabled_tactics.empty()) json["disabled_tactics"] = config.disabled_tactics;
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string profile_text(const api::ShapeRange& range) {
  if (range.min == range.max) return extents_text(range.opt);
  return fmt::format("{} to {}, tuned for {}", extents_text(range.min), extents_text(range.max),
                     extents_text(range.opt));
}

/// Layers that compute in FP32 although another type was allowed, with the reason where the builder gave one.
std::string kept_in_fp32(const std::vector<api::LayerInfo>& layers) {
  constexpr size_t kShown = 8;
  std::string out;
  size_t count = 0;
  for (const api::LayerInfo& layer : layers) {
    if (layer.precision != "fp32") continue;
    if (++count <= kShown) out += fmt::format("  {}{}\n", layer.name, layer.note.empty() ? "" : ": " + layer.note);
  }
  if (count > kShown) out += fmt::format("  and {} more (planish inspect --layers)\n", count - kShown);
  return fmt::format("{} of {} layers compute in FP32\n{}", count, layers.size(), out);
}

Status print_summary(const api::Engine& engine, const api::BuildConfig& config, const api::BuildStats& stats,
                     const std::string& path, uint64_t file_bytes) {
  const auto layers = PLANISH_TRY(engine.layers());
  const LayerTimes times = tuned_times(layers);
  const auto [activation_bytes, peak_layer] = PLANISH_TRY(engine.activation_bytes());
  fmt::print("{}: {}, {} layers, {} of weights\n", path, bytes_text(static_cast<int64_t>(file_bytes)), layers.size(),
             bytes_text(engine.summary().weight_bytes));
  for (const auto& [name, range] : engine.profiles()[0]) fmt::print("  input {}: {}\n", name, profile_text(range));
  fmt::print("Built in {:.1f} s for {} ({}): {} timings, {} from the cache\n", stats.seconds, engine.summary().device,
             engine.summary().precision, stats.tactics_timed, stats.tactics_from_cache);
  fmt::print("Activations: {} at the tuned shapes{}\n", bytes_text(activation_bytes),
             peak_layer.empty() ? "" : ", most at " + peak_layer);
  if (stats.tuned_total_ms > 0) {
    fmt::print("Estimated time: {}, {:.1f} % of it changes layouts. Slowest layers:\n{}",
               milliseconds_text(stats.tuned_total_ms), reformat_share(layers, times) * 100,
               slowest_layers_text(layers, times, kSlowestShown));
  }
  if (config.fp16 || config.bf16) fmt::print("{}", kept_in_fp32(layers));
  return {};
}

/// Ranges for an INT8 build; measured ones are written beside the engine.
Status add_calibration(const BuildCommand& command, const api::Model& model, api::BuildConfig& config) {
  config.float_fallback = !command.no_float_fallback;
  config.int8 =
      command.int8 || (command.build.best && (model.has_quantize_nodes() || !command.calibration.path.empty()));
  if (!config.int8 || model.has_quantize_nodes() || command.calibration.path.empty()) return {};
  CalibrationArguments arguments = command.calibration;
  if (arguments.cache_path.empty()) arguments.cache_path = command.output_path + ".cache";
  const api::ProfileRanges shapes = config.profiles.empty() ? api::ProfileRanges{} : config.profiles[0];
  Calibration found = PLANISH_TRY(calibrate_with_progress("build", model, arguments, shapes, command.build.threads));
  config.calibration = std::make_shared<const api::CalibrationTable>(std::move(found.table));
  return {};
}

/// What a tuned engine keeps cannot be asked for anew.
Status check_retune(const BuildCommand& command) {
  const BuildArguments& b = command.build;
  const bool asks_shapes = !b.shapes.empty() || !b.min_shapes.empty() || !b.opt_shapes.empty() || !b.max_shapes.empty();
  const bool asks_more = asks_shapes || b.fp16 || b.bf16 || b.best || command.int8 || !b.layer_precisions.empty();
  if (command.model_path.empty() && !asks_more) return {};
  return Error{.code = Code::invalid_argument,
               .file = "--retune",
               .what = "an engine that is tuned again keeps its network, shapes and precisions",
               .fix = "leave the model, shapes and precisions out, or build anew without --retune"};
}

Status retune(const BuildCommand& command) {
  PLANISH_TRY(check_retune(command));
  const std::string& path = command.output_path.empty() ? command.retune_path : command.output_path;
  PLANISH_TRY(check_output_path(path));
  const api::Engine old = PLANISH_TRY(api::Engine::load(command.retune_path));
  const api::BuildConfig config = PLANISH_TRY(build_config(command.build));
  api::BuildStats stats;
  const api::Engine engine = PLANISH_TRY(retune_with_progress("build", old, config, &stats));
  const uint64_t file_bytes = PLANISH_TRY(engine.save(path));
  return print_summary(engine, config, stats, path, file_bytes);
}

Status build(const BuildCommand& command) {
  if (!command.retune_path.empty()) return retune(command);
  if (command.model_path.empty()) return missing("MODEL.onnx is missing", "planish build --help shows an example");
  if (command.output_path.empty()) return missing("no engine file to write was named", "add -o model.engine");
  api::Model model = PLANISH_TRY(api::Model::read(command.model_path));
  std::vector<std::string> warnings;
  api::BuildConfig config = PLANISH_TRY(build_config(command.build, model, warnings));
  for (const std::string& text : warnings) warn("build", text);
  PLANISH_TRY(add_calibration(command, model, config));
  config.options_json = options_json(config);
  api::BuildStats stats;
  const api::Engine engine = PLANISH_TRY(build_with_progress("build", std::move(model), config, &stats));
  const uint64_t file_bytes = PLANISH_TRY(engine.save(command.output_path));
  PLANISH_TRY(print_summary(engine, config, stats, command.output_path, file_bytes));
  for (const std::string& line : PLANISH_TRY(int8_build_lines(engine, config, stats))) fmt::print("{}\n", line);
  return {};
}

}  // namespace

int build_main(int argc, char** argv) {
  BuildCommand command;
  if (const auto code = command.line.parse(argc, argv)) return *code;
  const Status status = build(command);
  return status.ok() ? 0 : fail("build", status.error());
}

std::vector<std::string> build_words() { return BuildCommand().line.words(); }

}  // namespace planish::tools
