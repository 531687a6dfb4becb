#include "planish/tools/polygraphy/engine_build.h"
#include "planish/tools/int8_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "planish/tools/polygraphy/calibration.h"
#include "planish/tools/polygraphy/model_text.h"
#include "planish/tools/polygraphy/numpy_text.h"
#include "planish/tools/polygraphy/runner.h"
#include "planish/tools/polygraphy/tool.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

using NamedShapes = std::vector<std::pair<std::string, std::vector<int64_t>>>;

/// "conv1:float32", "/model.0/conv/Conv:float16", patterns with '*'.
Result<std::vector<std::pair<std::string, DType>>> layer_precisions(const ParsedOptions& options) {
  std::vector<std::pair<std::string, DType>> out;
  for (const std::string& text : options.values("--layer-precisions")) {
    const size_t colon = text.rfind(':');
    const auto dtype = colon == std::string::npos ? std::nullopt : dtype_from_name(text.substr(colon + 1));
    if (!dtype)
      return Error{.code = Code::invalid_argument,
                   .file = "--layer-precisions",
                   .what = fmt::format("'{}' is not a layer with a type", text),
                   .fix = "write --layer-precisions conv1:float32 head*:float16"};
    out.emplace_back(text.substr(0, colon), *dtype);
  }
  return out;
}

Result<size_t> memory_limit(const ParsedOptions& options) {
  size_t limit = SIZE_MAX;
  for (const auto& [pool, size] : texts_by_name(options.values("--pool-limit"))) {
    if (pool != "workspace" && pool != "WORKSPACE") continue;
    limit = static_cast<size_t>(PLANISH_TRY(parse_size_bytes(size, 1, "--pool-limit")));
  }
  return limit;
}

const std::vector<int64_t>* find_given(const NamedShapes& shapes, const std::string& name) {
  const std::vector<int64_t>* found = nullptr;
  for (const auto& [pattern, shape] : shapes) {
    if (pattern == name) return &shape;
    if (fnmatches(pattern, name)) found = &shape;
  }
  return found;
}

Status check_names(const NamedShapes& shapes, const api::Model& model, std::string_view option) {
  std::vector<std::string> names;
  for (const api::TensorInfo& input : model.inputs()) names.push_back(input.name);
  for (const auto& [pattern, shape] : shapes)
    if (std::none_of(names.begin(), names.end(), [&](const std::string& n) { return fnmatches(pattern, n); })) {
      const std::string near = nearest_word(pattern, names);
      return Error{.code = Code::not_found,
                   .tensor = pattern,
                   .file = std::string(option),
                   .what = fmt::format("the network has no input of that name; it has {}", python_list(names)),
                   .fix = near.empty() ? "use one of them" : fmt::format("did you mean '{}'?", near)};
    }
  return {};
}

/// Shapes of one --trt-min-shapes/--trt-opt-shapes/--trt-max-shapes occurrence, or --input-shapes, or 1 where open.
Result<api::ProfileRanges> profile(const api::Model& model, const NamedShapes& min, const NamedShapes& opt,
                                   const NamedShapes& max, PolygraphyLog& log) {
  api::ProfileRanges ranges;
  for (const api::TensorInfo& input : model.inputs()) {
    const bool dynamic = std::any_of(input.dims.begin(), input.dims.end(), [](int64_t d) { return d < 0; });
    const std::vector<int64_t>* given[] = {find_given(min, input.name), find_given(opt, input.name),
                                           find_given(max, input.name)};
    const std::vector<int64_t>* any = given[1] != nullptr ? given[1] : given[2] != nullptr ? given[2] : given[0];
    std::vector<int64_t> fallback = any != nullptr ? *any : input.dims;
    if (any == nullptr && dynamic) {
      for (int64_t& d : fallback) d = d < 0 ? 1 : d;
      log.print_once(
          PolygraphyLog::warning,
          fmt::format("Input tensor: {} (dtype={}, shape={}) | No shapes provided; Will use shape: {} for min/opt/max "
                      "in profile.\nThis will cause the tensor to have a fixed shape at runtime. If this is incorrect, "
                      "please provide a range of shapes for this input tensor.",
                      input.name, dtype_numpy_name(input.dtype), python_tuple(input.dims), python_dims(fallback)));
    }
    const auto pick = [&](size_t i) { return given[i] != nullptr ? *given[i] : fallback; };
    if (!dynamic && any == nullptr) continue;
    ranges[input.name] = {pick(0), pick(1), pick(2)};
  }
  return ranges;
}

Result<std::vector<api::ProfileRanges>> profiles(const api::Model& model, const ParsedOptions& options,
                                                 PolygraphyLog& log) {
  const auto min = options.occurrences("--trt-min-shapes");
  const auto opt = options.occurrences("--trt-opt-shapes");
  const auto max = options.occurrences("--trt-max-shapes");
  const size_t count = std::max({min.size(), opt.size(), max.size()});
  const auto shapes_at = [&](const auto& all, size_t i, std::string_view option) -> Result<NamedShapes> {
    auto shapes = PLANISH_TRY(parse_shape_options(i < all.size() ? all[i] : std::vector<std::string>(), option));
    PLANISH_TRY(check_names(shapes, model, option));
    return shapes;
  };
  std::vector<api::ProfileRanges> out;
  if (count == 0) {
    const auto shapes = PLANISH_TRY(parse_shape_options(options.values("--input-shapes"), "--input-shapes"));
    out.push_back(PLANISH_TRY(profile(model, shapes, shapes, shapes, log)));
  }
  for (size_t i = 0; i < count; ++i) {
    const NamedShapes low = PLANISH_TRY(shapes_at(min, i, "--trt-min-shapes"));
    const NamedShapes tuned = PLANISH_TRY(shapes_at(opt, i, "--trt-opt-shapes"));
    const NamedShapes high = PLANISH_TRY(shapes_at(max, i, "--trt-max-shapes"));
    out.push_back(PLANISH_TRY(profile(model, low, tuned, high, log)));
  }
  return out;
}

void log_profiles(const api::Model& model, const std::vector<api::ProfileRanges>& profiles, PolygraphyLog& log) {
  std::string text = "Configuring with profiles:[";
  for (size_t p = 0; p < profiles.size(); ++p) {
    std::vector<std::string> items;
    for (const api::TensorInfo& input : model.inputs()) {
      const auto it = profiles[p].find(input.name);
      const api::ShapeRange range =
          it == profiles[p].end() ? api::ShapeRange{input.dims, input.dims, input.dims} : it->second;
      items.push_back(fmt::format("{} [min={}, opt={}, max={}]", input.name, python_dims(range.min),
                                  python_dims(range.opt), python_dims(range.max)));
    }
    text += fmt::format("{}\n    Profile {}:\n        {{{}}}", p > 0 ? "," : "", p, fmt::join(items, ",\n         "));
  }
  log.print(PolygraphyLog::info, text + "\n]");
}

void log_configuration(const api::BuildConfig& config, bool int8, PolygraphyLog& log) {
  std::vector<std::string> flags;
  if (config.fp16) flags.emplace_back("FP16");
  if (config.bf16) flags.emplace_back("BF16");
  if (int8) flags.emplace_back("INT8");
  if (config.precision_constraints == api::PrecisionConstraints::prefer)
    flags.emplace_back("PREFER_PRECISION_CONSTRAINTS");
  if (config.precision_constraints == api::PrecisionConstraints::obey) flags.emplace_back("OBEY_PRECISION_CONSTRAINTS");
  if (config.refittable) flags.emplace_back("REFIT");
  const api::DeviceInfo device = api::cpu_device();
  constexpr double kMiB = 1 << 20;
  const double memory = config.memory_limit_bytes == SIZE_MAX ? static_cast<double>(device.memory_bytes)
                                                              : static_cast<double>(config.memory_limit_bytes);
  std::string verbosity = config.profiling_verbosity;
  std::transform(verbosity.begin(), verbosity.end(), verbosity.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  std::string text = "Building engine with configuration:";
  const auto line = [&text](std::string_view title, const std::string& value) {
    text += fmt::format("\n{:<22} | {}", title, value);
  };
  line("Flags", fmt::format("[{}]", fmt::join(flags, ", ")));
  line("Device", fmt::format("{}, {}, {} cores", device.name, device.isa, device.cores));
  line("Memory Pools", fmt::format("[WORKSPACE: {:.2f} MiB]", memory / kMiB));
  line("Profiling Verbosity", "ProfilingVerbosity." + verbosity);
  if (config.profiles.size() > 1) line("Optimization Profiles", fmt::format("{} profile(s)", config.profiles.size()));
  log.print(PolygraphyLog::start, text);
}

/// The cache that is read, and where it is written: a copy, unless both are the same file.
Status set_timing_cache(const ParsedOptions& options, api::BuildConfig& config, PolygraphyLog& log) {
  namespace fs = std::filesystem;
  config.error_on_timing_cache_miss = options.has("--error-on-timing-cache-miss");
  const std::string load = options.text("--load-timing-cache");
  const std::string save = options.text("--save-timing-cache");
  std::error_code error;
  const bool there = !load.empty() && fs::exists(load, error);
  if (!load.empty() && !there)
    log.print(PolygraphyLog::warning,
              fmt::format("Timing cache file {} not found, falling back to empty timing cache.", load));
  if (!save.empty()) {
    if (there && !fs::equivalent(load, save, error) && !fs::exists(save, error)) {
      fs::copy_file(load, save, error);
      if (error) return Error{.code = Code::io, .file = save, .what = error.message(), .fix = "check the path"};
    }
    config.timing_cache_file = save;
  } else if (there) {
    config.timing_cache_file = load;
  }
  return {};
}

Result<api::BuildConfig> configuration(const ParsedOptions& options, PolygraphyLog& log) {
  api::BuildConfig config;
  config.fp16 = options.has("--fp16");
  config.bf16 = options.has("--bf16");
  config.refittable = options.has("--refittable");
  config.layer_precisions = PLANISH_TRY(layer_precisions(options));
  const std::string constraints = options.text("--precision-constraints", "none");
  config.precision_constraints = constraints == "obey"     ? api::PrecisionConstraints::obey
                                 : constraints == "prefer" ? api::PrecisionConstraints::prefer
                                                           : api::PrecisionConstraints::none;
  config.memory_limit_bytes = PLANISH_TRY(memory_limit(options));
  config.optimization_level = static_cast<int>(PLANISH_TRY(options.integer("--builder-optimization-level", 3, 0, 5)));
  config.profiling_verbosity = options.text("--profiling-verbosity", "detailed");
  PLANISH_TRY(set_timing_cache(options, config, log));
  config.warn = [&log](const std::string& text) { log.print(PolygraphyLog::warning, text); };
  config.progress = [&log, last = std::string()](std::string_view stage, size_t done, size_t total) mutable {
    if (stage == last) return;
    last = stage;
    log.print(PolygraphyLog::verbose, fmt::format("Build stage: {} ({} of {})", stage, done, total));
  };
  return config;
}

/// Outputs that --trt-outputs, else --onnx-outputs select.
Status set_outputs(api::Model& model, const std::string& path, const ParsedOptions& options, PolygraphyLog& log) {
  for (const std::string prefix : {"--trt", "--onnx"}) {
    const auto outputs = PLANISH_TRY(selected_outputs(path, options, prefix, log));
    if (!outputs) continue;
    const auto missing = PLANISH_TRY(model.set_outputs(*outputs));
    if (!missing.empty())
      log.print(PolygraphyLog::warning, fmt::format("{} tensor(s) do not exist after importing and are no outputs: {}",
                                                    missing.size(), python_list(missing)));
    return {};
  }
  return {};
}

}  // namespace

Status check_build_options(const ParsedOptions& options, PolygraphyLog& log) {
  PLANISH_TRY(refuse(
      options, {"--trt-config-script", "--trt-config-postprocess-script", "--trt-network-postprocess-script"},
      "the script needs TensorRT's Python package", "say it with options, or use the polygraphy Python package"));
  if (options.has("--use-dla")) {
    if (!options.has("--allow-gpu-fallback"))
      return plain_error("DLA was requested via --use-dla, but no DLA hardware is available on this system",
                         "leave --use-dla out, or add --allow-gpu-fallback");
    log.print(
        PolygraphyLog::warning,
        "DLA was requested via --use-dla, but no DLA hardware is available on this system. Layers run on the CPU.");
  }
  return {};
}

Result<api::Engine> build_polygraphy_engine(const std::string& path, const ParsedOptions& options, PolygraphyLog& log,
                                            const std::vector<std::pair<std::string, DType>>& also_precise) {
  PLANISH_TRY(check_build_options(options, log));
  api::Model model = PLANISH_TRY(api::Model::read(path));
  for (const std::string& text : model.warnings()) log.print(PolygraphyLog::warning, text);
  if (!options.has("--tf32"))
    log.print_once(PolygraphyLog::info,
                   "TF32 is disabled by default. Turn on TF32 for better performance with minor accuracy differences.");
  api::BuildConfig config = PLANISH_TRY(configuration(options, log));
  config.profiles = PLANISH_TRY(profiles(model, options, log));
  for (const auto& precision : also_precise) config.layer_precisions.push_back(precision);
  if (!also_precise.empty() && !options.has("--precision-constraints"))
    config.precision_constraints = api::PrecisionConstraints::obey;
  if (!config.layer_precisions.empty() && config.precision_constraints == api::PrecisionConstraints::none) {
    log.print(
        PolygraphyLog::warning,
        "Layer precisions were given, but precision constraints were not enabled. They are taken as 'prefer'; say "
        "--precision-constraints prefer or obey.");
    config.precision_constraints = api::PrecisionConstraints::prefer;
  }
  log_profiles(model, config.profiles, log);
  const bool int8 = options.has("--int8");
  if (int8) PLANISH_TRY(prepare_int8(model, options, config, log));
  PLANISH_TRY(set_outputs(model, path, options, log));
  log_configuration(config, int8, log);
  const auto begin = std::chrono::steady_clock::now();
  api::BuildStats stats;
  api::Engine engine = PLANISH_TRY(api::Engine::build(std::move(model), config, &stats));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  log.print(PolygraphyLog::finish, fmt::format("Finished engine building in {:.3f} seconds", seconds));
  for (const std::string& line : PLANISH_TRY(int8_build_lines(engine, config, stats)))
    log.print(PolygraphyLog::info, line);
  return engine;
}

Status save_polygraphy_engine(const api::Engine& engine, const std::string& path, PolygraphyLog& log) {
  log.print(PolygraphyLog::info, "Saving engine to " + path);
  PLANISH_TRY(engine.save(path));
  return {};
}

}  // namespace planish::tools
