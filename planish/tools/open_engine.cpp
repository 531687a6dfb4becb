#include "planish/tools/open_engine.h"

#include <fmt/format.h>

#include <limits>

#include "planish/api/file_kind.h"
#include "planish/tools/console.h"
#include "planish/tools/trtexec/parse.h"
#include "planish/tools/trtexec/session.h"
#include "planish/tools/trtexec/shapes.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

Result<ProfileShapes> given_shapes(const BuildArguments& a, std::vector<std::string>& warnings) {
  ProfileShapes profile;
  if (!a.shapes.empty()) {
    if (!a.min_shapes.empty() || !a.opt_shapes.empty() || !a.max_shapes.empty())
      return Error{.code = Code::invalid_argument,
                   .file = "--shapes",
                   .what = "fixes the shapes that --minShapes, --optShapes and --maxShapes give a range for",
                   .fix = "keep one kind"};
    profile.opt = PLANISH_TRY(parse_shapes(a.shapes, "--shapes"));
    profile.min = profile.max = profile.opt;
    return profile;
  }
  profile.min = PLANISH_TRY(parse_shapes(a.min_shapes, "--minShapes"));
  profile.opt = PLANISH_TRY(parse_shapes(a.opt_shapes, "--optShapes"));
  profile.max = PLANISH_TRY(parse_shapes(a.max_shapes, "--maxShapes"));
  PLANISH_TRY(complete_profile(profile, warnings));
  return profile;
}

ModelRecord record_of(const api::Model& model) {
  ModelRecord record;
  for (const api::TensorInfo& t : model.inputs())
    record.inputs.push_back({.name = t.name, .dtype = t.dtype, .dims = t.dims});
  return record;
}

Result<api::ProfileRanges> profile_ranges(const BuildArguments& a, const api::Model& model,
                                          std::vector<std::string>& warnings) {
  Options options;
  options.build.max_batch_size = a.default_batch;
  if (const ProfileShapes given = PLANISH_TRY(given_shapes(a, warnings)); !given.empty())
    options.build.profiles.push_back(given);
  ShapeLog log;
  const auto profiles = PLANISH_TRY(resolve_build_profiles(options, record_of(model), log));
  if (a.default_batch == 0) warnings.insert(warnings.end(), log.warnings.begin(), log.warnings.end());
  api::ProfileRanges ranges;
  for (const auto& [name, dims] : profiles[0].opt)
    ranges[name] = {*find_shape(profiles[0].min, name), dims, *find_shape(profiles[0].max, name)};
  return ranges;
}

Result<size_t> memory_limit(const std::vector<std::string>& pools) {
  size_t limit = SIZE_MAX;
  for (const std::string& pool : pools) {
    std::string size = pool;
    if (pool.find(':') != std::string::npos) {
      const auto [name, value] = PLANISH_TRY(parse_pair(pool, "--memPoolSize"));
      if (name != "workspace")
        return Error{.code = Code::invalid_argument,
                     .file = "--memPoolSize",
                     .what = fmt::format("the CPU has no pool '{}'", name),
                     .fix = "give workspace:SIZE, for example workspace:512M"};
      size = value;
    }
    limit = static_cast<size_t>(PLANISH_TRY(parse_size_bytes(size, kMiB, "--memPoolSize")));
  }
  return limit;
}

Status set_precisions(const BuildArguments& a, api::BuildConfig& config) {
  config.fp16 = a.fp16 || a.best;
  config.bf16 = a.bf16 || a.best;
  config.precision_constraints = a.precision_constraints == "obey"     ? api::PrecisionConstraints::obey
                                 : a.precision_constraints == "prefer" ? api::PrecisionConstraints::prefer
                                                                       : api::PrecisionConstraints::none;
  for (const std::string& list : a.layer_precisions)
    for (const auto& [layer, type] : PLANISH_TRY(parse_pairs(list, "--layerPrecisions"))) {
      const auto dtype = dtype_from_name(type);
      if (!dtype)
        return Error{.code = Code::invalid_argument,
                     .file = "--layerPrecisions",
                     .what = fmt::format("'{}' is not an element type", type),
                     .fix = "use fp32, fp16 or bf16"};
      config.layer_precisions.emplace_back(layer, *dtype);
    }
  if (!config.layer_precisions.empty() && config.precision_constraints == api::PrecisionConstraints::none)
    config.precision_constraints = api::PrecisionConstraints::prefer;
  return {};
}

}  // namespace

void BuildArguments::declare_common(CommandLine& line) {
  line.text("--shapes", shapes, "NAME:DIMS", "Fixed input shapes, for example data:1x3x224x224,ids:1x128");
  line.text("--minShapes", min_shapes, "NAME:DIMS", "Smallest input shapes");
  line.text("--optShapes", opt_shapes, "NAME:DIMS", "Shapes that tactics are tuned for");
  line.text("--maxShapes", max_shapes, "NAME:DIMS", "Largest input shapes");
  line.flag("--fp16", fp16, "Let FP16 compete");
  line.flag("--bf16", bf16, "Let BF16 compete");
  line.flag("--best", best, "Let every precision compete");
  line.integer("--builderOptimizationLevel", optimization_level, 0, 5,
               "0: rules, no timing; 5: every tactic, layout and repetition (default 3)");
  line.integer("--threads", threads, 0, 4096, "Threads to compute with; 0: all cores (default)");
}

void BuildArguments::declare_all(CommandLine& line) {
  declare_common(line);
  line.texts("--layerPrecisions", layer_precisions, "LAYER:TYPE",
             "Types of layers, by name or ONNX node; one * allowed: head.*:fp32");
  line.choice("--precisionConstraints", precision_constraints, {"none", "prefer", "obey"},
              "How far --layerPrecisions binds (default prefer when it is given)");
  line.integer("--avgTiming", avg_timing, 1, 1000, "Repetitions per tactic (default 8)");
  line.texts("--disable-pass", disabled_passes, "PASS", "Leave out an optimisation pass");
  line.texts("--disable-tactic", disabled_tactics, "TACTIC",
             "Leave out tactics by the beginning of their id, for example cpu.winograd");
  line.text("--stop-after-pass", stop_after_pass, "PASS", "Leave out every pass after this one");
  line.text("--dump-passes", dump_passes_to, "DIR", "Write the graph as text after every pass into a folder");
  line.text("--timing-cache", timing_cache, "FILE", "Timing cache to use instead of the default one");
  line.flag("--no-timing-cache", no_timing_cache, "Time every tactic again");
  line.texts("--memPoolSize", memory_pools, "workspace:SIZE",
             "Cap on workspace and activations together, in MiB or with K, M, G");
}

Result<api::BuildConfig> build_config(const BuildArguments& a) {
  api::BuildConfig config;
  PLANISH_TRY(set_precisions(a, config));
  config.optimization_level = static_cast<int>(a.optimization_level);
  config.avg_timing = static_cast<int>(a.avg_timing);
  config.threads = static_cast<int>(a.threads);
  config.memory_limit_bytes = PLANISH_TRY(memory_limit(a.memory_pools));
  for (const std::string& list : a.disabled_passes)
    for (std::string& name : split_list(list, ',')) config.disabled_passes.push_back(std::move(name));
  for (const std::string& list : a.disabled_tactics)
    for (std::string& name : split_list(list, ',')) config.disabled_tactics.push_back(std::move(name));
  config.stop_after_pass = a.stop_after_pass;
  config.dump_passes_to = a.dump_passes_to;
  config.use_timing_cache = !a.no_timing_cache;
  if (!a.timing_cache.empty()) config.timing_cache_file = a.timing_cache;
  return config;
}

Result<api::BuildConfig> build_config(const BuildArguments& a, const api::Model& model,
                                      std::vector<std::string>& warnings) {
  api::BuildConfig config = PLANISH_TRY(build_config(a));
  config.profiles.push_back(PLANISH_TRY(profile_ranges(a, model, warnings)));
  return config;
}

namespace {

/// Calls `work(config)` with a progress bar; its warnings come after the bar is gone.
template <typename Work>
Result<api::Engine> with_progress(const std::string& command, const std::string& title, api::BuildConfig config,
                                  Work work) {
  std::vector<std::string> warnings;
  config.warn = [&warnings](const std::string& text) { warnings.push_back(text); };
  Progress progress(title);
  config.progress = [&progress](std::string_view stage, size_t done, size_t total) {
    progress.update(stage, static_cast<int64_t>(done), static_cast<int64_t>(total));
  };
  auto engine = work(config);
  progress.finish();
  for (const std::string& text : warnings) warn(command, text);
  return engine;
}

}  // namespace

Result<api::Engine> build_with_progress(const std::string& command, api::Model model, api::BuildConfig config,
                                        api::BuildStats* stats) {
  for (const std::string& text : model.warnings()) warn(command, text);
  return with_progress(command, "Building", std::move(config), [&](const api::BuildConfig& complete) {
    return api::Engine::build(std::move(model), complete, stats);
  });
}

Result<api::Engine> retune_with_progress(const std::string& command, const api::Engine& engine, api::BuildConfig config,
                                         api::BuildStats* stats) {
  return with_progress(command, "Tuning", std::move(config),
                       [&](const api::BuildConfig& complete) { return engine.retuned(complete, stats); });
}

Result<api::Engine> open_engine(const std::string& command, const std::string& path, const BuildArguments& arguments) {
  if (PLANISH_TRY(api::file_kind(path)) == api::FileKind::engine) {
    api::Engine engine = PLANISH_TRY(api::Engine::load(path));
    for (const std::string& text : engine.warnings()) warn(command, text);
    return engine;
  }
  api::Model model = PLANISH_TRY(api::Model::read(path));
  std::vector<std::string> warnings;
  api::BuildConfig config = PLANISH_TRY(build_config(arguments, model, warnings));
  for (const std::string& text : warnings) warn(command, text);
  return build_with_progress(command, std::move(model), std::move(config), nullptr);
}

}  // namespace planish::tools
