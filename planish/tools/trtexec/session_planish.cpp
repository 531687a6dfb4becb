#include <fmt/format.h>
#include <sys/resource.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>

#include "planish/api/engine.h"
#include "planish/tools/calibration/obtain.h"
#include "planish/tools/int8_summary.h"
#include "planish/tools/trtexec/io_format.h"
#include "planish/tools/trtexec/layer_names.h"
#include "planish/tools/trtexec/text.h"
#include "planish/tools/trtexec/trtexec.h"

namespace planish::tools {
namespace {

Error unsupported(std::string flag, std::string what, std::string fix) {
  Error error;
  error.code = Code::unsupported;
  error.file = std::move(flag);
  error.what = std::move(what);
  error.fix = std::move(fix);
  return error;
}

TensorRecord tensor_record(const api::TensorInfo& info) {
  return {.name = info.name,
          .dtype = info.dtype,
          .dims = info.dims,
          .channel_block = info.channel_block,
          .channels_last = info.layout == "channels_last",
          .holds_shape = info.holds_shape};
}

std::vector<TensorRecord> tensor_records(const std::vector<api::TensorInfo>& infos) {
  std::vector<TensorRecord> records;
  for (const api::TensorInfo& info : infos) records.push_back(tensor_record(info));
  return records;
}

api::ProfileRanges ranges_of(const ProfileShapes& profile) {
  api::ProfileRanges ranges;
  for (const auto& [name, opt] : profile.opt) {
    const Dims* min = find_shape(profile.min, name);
    const Dims* max = find_shape(profile.max, name);
    ranges[name] = {.min = min == nullptr ? opt : *min, .opt = opt, .max = max == nullptr ? opt : *max};
  }
  return ranges;
}

ProfileShapes shapes_of(const api::ProfileRanges& ranges) {
  ProfileShapes profile;
  for (const auto& [name, range] : ranges) {
    profile.min.emplace_back(name, range.min);
    profile.opt.emplace_back(name, range.opt);
    profile.max.emplace_back(name, range.max);
  }
  return profile;
}

/// Providers and families that a signed list of `--tacticSources` switches off; the last entry for a provider counts.
/// TensorRT's own names have no counterpart.
std::vector<std::string> disabled_tactics(const std::string& sources) {
  static constexpr std::pair<std::string_view, std::string_view> kProviders[] = {{"ONEDNN", "onednn"},
                                                                                 {"PLANISH", "planish"},
                                                                                 {"REFERENCE", "reference"},
                                                                                 {"WINOGRAD", "cpu.winograd"},
                                                                                 {"STRASSEN", "cpu.strassen"}};
  std::vector<std::string> disabled;
  for (const auto& [name, provider] : kProviders) {
    bool off = false;
    for (const std::string& source : split_list(sources, ','))
      if (source.substr(1) == name) off = source.front() == '-';
    if (off) disabled.emplace_back(provider);
  }
  return disabled;
}

/// `fp16:chw` entries in the order of the tensors, or one entry for all.
Result<std::map<std::string, api::IoFormat>> io_formats(const BuildOptions& b, const api::Model& model) {
  std::map<std::string, api::IoFormat> out;
  const auto add = [&out](std::string_view flag, const std::vector<std::string>& entries,
                          const std::vector<api::TensorInfo>& tensors) -> Status {
    if (entries.empty()) return {};
    if (entries.size() != 1 && entries.size() != tensors.size()) {
      Error error;
      error.code = Code::invalid_argument;
      error.file = std::string(flag);
      error.what = fmt::format("{} entries for {} tensors", entries.size(), tensors.size());
      error.fix = "give one entry for each in their order, or one for all";
      return error;
    }
    for (size_t i = 0; i < tensors.size(); ++i) {
      const IoFormatEntry entry = parse_io_format(entries[entries.size() == 1 ? 0 : i]);
      const DType type = dtype_from_name(entry.type).value_or(DType::undefined);
      // One entry for all is about images: tensors that have no such layout keep theirs.
      const bool image = tensors[i].dims.size() >= 3 && tensors[i].dims.size() <= 5;
      out[tensors[i].name] = {.dtype = type, .layout = image || entries.size() > 1 ? entry.layout : "row_major"};
    }
    return {};
  };
  PLANISH_TRY(add("--inputIOFormats", b.input_formats, model.inputs()));
  PLANISH_TRY(add("--outputIOFormats", b.output_formats, model.outputs()));
  return out;
}

/// What was asked for, for people who look at the engine later.
std::string options_json(const Options& options) {
  const BuildOptions& b = options.build;
  nlohmann::ordered_json json;
  json["fp16"] = b.precision.fp16;
  json["bf16"] = b.precision.bf16;
  json["int8"] = b.precision.int8;
  json["precisionConstraints"] = b.precision.constraints;
  json["builderOptimizationLevel"] = b.tactics.optimization_level;
  json["avgTiming"] = b.tactics.avg_timing_runs;
  json["sparsity"] = b.tactics.sparsity;
  if (!b.tactics.sources.empty()) json["tacticSources"] = b.tactics.sources;
  if (!b.tactics.disabled_passes.empty()) json["disablePasses"] = b.tactics.disabled_passes;
  if (b.pools.workspace_bytes) json["memPoolSize"] = *b.pools.workspace_bytes;
  if (!b.input_formats.empty()) json["inputIOFormats"] = b.input_formats;
  if (!b.output_formats.empty()) json["outputIOFormats"] = b.output_formats;
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

api::BuildConfig build_config(const BuildRequest& request, BuildResult& result) {
  const BuildOptions& b = request.options.build;
  api::BuildConfig config;
  for (const ProfileShapes& profile : request.profiles) config.profiles.push_back(ranges_of(profile));
  config.fp16 = b.precision.fp16;
  config.int8 = b.precision.int8;
  config.float_fallback = b.precision.float_fallback;
  config.bf16 = b.precision.bf16;
  const std::string& constraints = b.precision.constraints;
  config.precision_constraints = constraints == "obey"     ? api::PrecisionConstraints::obey
                                 : constraints == "prefer" ? api::PrecisionConstraints::prefer
                                                           : api::PrecisionConstraints::none;
  for (const auto& [layer, type] : b.precision.layer_precisions) {
    if (const auto dtype = dtype_from_name(type)) config.layer_precisions.emplace_back(layer, *dtype);
  }
  // One type per output joined by '+': a layer here writes all its outputs in one, the first.
  for (const auto& [layer, types] : b.precision.layer_output_types) {
    if (const auto dtype = dtype_from_name(types.substr(0, types.find('+'))))
      config.layer_output_types.emplace_back(layer, *dtype);
  }
  config.optimization_level = b.tactics.optimization_level;
  config.avg_timing = b.tactics.avg_timing_runs;
  config.max_tactics = b.tactics.max_tactics;
  config.threads = request.options.system.cpu_threads;
  if (b.pools.workspace_bytes) config.memory_limit_bytes = static_cast<size_t>(*b.pools.workspace_bytes);
  config.disabled_tactics = disabled_tactics(b.tactics.sources);
  config.disabled_passes = b.tactics.disabled_passes;
  config.use_timing_cache = b.tactics.use_timing_cache;
  if (!b.tactics.timing_cache_path.empty()) config.timing_cache_file = b.tactics.timing_cache_path;
  config.error_on_timing_cache_miss = b.tactics.error_on_timing_cache_miss;
  config.profiling_verbosity = b.profiling_verbosity;
  config.refittable = b.engine.refit;
  config.options_json = options_json(request.options);
  config.prune_two_of_four = b.tactics.sparsity == "force";
  config.debug_tensors = b.debug_tensors;
  config.debug_unfused_tensors = b.mark_unfused_debug;
  if (request.progress) {
    config.progress = [&request](std::string_view stage, size_t done, size_t total) {
      request.progress({std::string(stage), static_cast<int64_t>(done), static_cast<int64_t>(total)});
    };
  }
  config.warn = [&result](const std::string& text) { result.warnings.push_back(text); };
  return config;
}

/// Shapes to calibrate at: their own flags, else those of the profile that --calibProfile chooses.
Result<api::ProfileRanges> calibration_shapes(const BuildRequest& request) {
  const CalibrationFlags& flags = request.options.build.precision.calibration;
  api::ProfileRanges shapes;
  if (flags.profile >= 0 && static_cast<size_t>(flags.profile) < request.profiles.size()) {
    shapes = ranges_of(request.profiles[static_cast<size_t>(flags.profile)]);
  } else if (flags.profile > 0) {
    return Error{
        .code = Code::invalid_argument,
        .file = "--calibProfile",
        .what = fmt::format("there is no profile {}; the build has {}", flags.profile, request.profiles.size()),
        .fix = "number profiles from 0"};
  }
  for (const auto& [name, range] : ranges_of(flags.shapes)) shapes[name] = range;
  return shapes;
}

/// The ranges that --calib leads to; what was done goes to `result`.
Result<api::CalibrationTable> calibrated(const api::Model& model, const BuildRequest& request, BuildResult& result) {
  const CalibrationFlags& flags = request.options.build.precision.calibration;
  CalibrationRequest calibration;
  CalibrationPlace& place = calibration.place;
  place.path = flags.path;
  place.preprocess = flags.preprocess;
  place.max_samples = flags.samples > 0 ? flags.samples : -1;
  place.script_timeout_s = flags.script_timeout_s;
  place.threads = request.options.system.cpu_threads;
  place.seed = request.options.inference.random_seed;
  place.shapes = PLANISH_TRY(calibration_shapes(request));
  place.note = [&result](const std::string& text) { result.notes.push_back("Calibration: " + text); };
  place.warn = [&result](const std::string& text) { result.warnings.push_back(text); };
  calibration.method = api::find_calibration_method(flags.method).value_or(api::CalibrationMethod::automatic);
  calibration.percentile = flags.percentile;
  calibration.max_bad_share = flags.max_bad_percent / 100;
  const std::string& engine = request.options.build.engine.save_path;
  calibration.cache_path = !flags.cache_path.empty() || engine.empty() ? flags.cache_path : engine + ".cache";
  if (request.progress) {
    calibration.progress = [&request](std::string_view stage, size_t done, size_t total) {
      request.progress({std::string(stage), static_cast<int64_t>(done), static_cast<int64_t>(total)});
    };
  }
  Calibration found = PLANISH_TRY(obtain_calibration(model, calibration));
  return std::move(found.table);
}

class PlanishContext final : public RunContext {
 public:
  explicit PlanishContext(std::unique_ptr<api::ExecutionContext> context) : context_(std::move(context)) {}
  Status set_input(const std::string& name, const Dims& dims, std::span<const std::byte> data) override {
    return context_->set_input(name, dims, data);
  }
  Status run() override { return context_->run(); }
  Status run_profiled(std::vector<double>& layer_ms) override { return context_->run_profiled(layer_ms); }
  [[nodiscard]] Result<OutputView> output(const std::string& name) const override {
    const api::HostTensor tensor = PLANISH_TRY(context_->output(name));
    return OutputView{tensor.dims, tensor.data};
  }
  Result<std::vector<LayerRecord>> layers() override {
    const auto infos = PLANISH_TRY(context_->layers());
    return layer_records(infos);
  }

 private:
  std::unique_ptr<api::ExecutionContext> context_;
};

class PlanishSession final : public Session {
 public:
  [[nodiscard]] DeviceRecord device() const override {
    const api::DeviceInfo info = api::cpu_device();
    return {.name = info.name,
            .isa = info.isa,
            .cores = info.cores,
            .memory_bytes = info.memory_bytes,
            .library_version = std::string(api::version())};
  }

  Result<ModelRecord> read_model(const std::string& path) override {
    model_.emplace(PLANISH_TRY(api::Model::read(path)));
    ModelRecord record;
    record.inputs = tensor_records(model_->inputs());
    record.outputs = tensor_records(model_->outputs());
    record.has_quantize_nodes = model_->has_quantize_nodes();
    record.node_count = model_->node_count();
    record.producer = model_->producer();
    record.opset = model_->opset();
    return record;
  }

  Result<BuildResult> build(const BuildRequest& request) override {
    if (!model_) return unsupported("--onnx", "no model was read", "give --onnx=FILE");
    BuildResult result;
    result.warnings = model_->warnings();
    api::BuildStats stats;
    api::BuildConfig config = build_config(request, result);
    if (config.int8 && !model_->has_quantize_nodes() && request.options.build.precision.calibration.given) {
      auto table = PLANISH_TRY(calibrated(*model_, request, result));
      config.calibration = std::make_shared<const api::CalibrationTable>(std::move(table));
    }
    config.io_formats = PLANISH_TRY(io_formats(request.options.build, *model_));
    auto built = api::Engine::build(*std::move(model_), config, &stats);
    model_.reset();
    engine_.emplace(PLANISH_TRY(std::move(built)));
    rusage usage{};
    if (getrusage(RUSAGE_SELF, &usage) == 0) result.peak_memory_bytes = int64_t{usage.ru_maxrss} * 1024;
    result.timing_cache_hits = static_cast<int64_t>(stats.tactics_from_cache);
    result.timing_cache_misses = static_cast<int64_t>(stats.tactics_timed);
    result.tuning_peak_bytes = static_cast<int64_t>(stats.tuning_peak_bytes);
    result.tuning_peak_layer = stats.tuning_peak_layer;
    if (const std::string& sparsity = request.options.build.tactics.sparsity; sparsity != "disable") {
      result.notes.push_back(fmt::format("--sparsity={}: {} of {} products whose weights could be 2:4 sparse are{}",
                                         sparsity, stats.sparse_layers, stats.sparse_eligible,
                                         sparsity == "force" ? " now; what the network computes has changed" : ""));
    }
    PLANISH_TRY(describe());
    for (std::string& line : PLANISH_TRY(int8_build_lines(*engine_, config, stats)))
      result.notes.push_back(std::move(line));
    return result;
  }

  Status save(const std::string& path, bool strip_weights) override {
    if (strip_weights) {
      const api::Engine stripped = PLANISH_TRY(engine_->stripped());
      record_.size_bytes = static_cast<int64_t>(PLANISH_TRY(stripped.save(path)));
      return {};
    }
    record_.size_bytes = static_cast<int64_t>(PLANISH_TRY(engine_->save(path)));
    return {};
  }

  Status load(const std::string& path) override {
    engine_.emplace(PLANISH_TRY(api::Engine::load(path)));
    PLANISH_TRY(describe());
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    if (!error) record_.size_bytes = static_cast<int64_t>(size);
    return {};
  }

  Result<std::string> engine_version(const std::string& path) override {
    const api::Engine engine = PLANISH_TRY(api::Engine::load(path));
    return fmt::format("{}, tuned for {}", engine.summary().producer, engine.summary().device);
  }

  Status retune(const Options& options) override {
    BuildResult result;
    const BuildRequest request{.options = options, .profiles = {}, .progress = {}};
    auto tuned = engine_->retuned(build_config(request, result));
    engine_.emplace(PLANISH_TRY(std::move(tuned)));
    return describe();
  }
  Status refit(const std::string& onnx_path, const Options& options) override {
    BuildResult result;
    const BuildRequest request{.options = options, .profiles = {}, .progress = {}};
    api::Model model = PLANISH_TRY(api::Model::read(onnx_path));
    auto refitted = engine_->refitted(std::move(model), build_config(request, result));
    engine_.emplace(PLANISH_TRY(std::move(refitted)));
    return describe();
  }
  [[nodiscard]] std::vector<std::string> refittable_weights() const override {
    std::vector<std::string> lines;
    for (const api::RefittableWeight& w : engine_->refittable_weights())
      lines.push_back(fmt::format("{} {} ({} {})", w.layer, w.role, dtype_numpy_name(w.dtype), dims_text(w.dims)));
    return lines;
  }
  [[nodiscard]] const EngineRecord& engine() const override { return record_; }

  Result<std::unique_ptr<RunContext>> create_context(int profile_index, int thread_count,
                                                     std::optional<int64_t> memory_limit_bytes) override {
    const size_t limit = memory_limit_bytes ? static_cast<size_t>(*memory_limit_bytes) : SIZE_MAX;
    auto context = PLANISH_TRY(engine_->create_context(profile_index, thread_count, limit));
    return std::unique_ptr<RunContext>(std::make_unique<PlanishContext>(std::move(context)));
  }

 private:
  Status describe() {
    const api::EngineSummary& summary = engine_->summary();
    record_ = {};
    record_.inputs = tensor_records(engine_->inputs());
    record_.outputs = tensor_records(engine_->outputs());
    for (const api::ProfileRanges& ranges : engine_->profiles()) record_.profiles.push_back(shapes_of(ranges));
    record_.debug_tensors = tensor_records(engine_->debug_tensors());
    record_.weights_stripped = summary.weights_stripped;
    record_.weight_bytes = summary.weight_bytes;
    record_.size_bytes = summary.weight_bytes;
    if (!summary.weights_stripped) {
      const auto layers = PLANISH_TRY(engine_->layers());
      record_.layers = layer_records(layers);
      std::tie(record_.activation_bytes, record_.activation_peak_layer) = PLANISH_TRY(engine_->activation_bytes());
    }
    record_.precision = summary.precision;
    record_.calibration = summary.calibration.empty() ? "none" : summary.calibration;
    if (!summary.profiling_verbosity.empty()) record_.verbosity = summary.profiling_verbosity;
    record_.notes = engine_->warnings();
    return {};
  }

  std::optional<api::Model> model_;
  std::optional<api::Engine> engine_;
  EngineRecord record_;
};

}  // namespace

std::unique_ptr<Session> make_planish_session() { return std::make_unique<PlanishSession>(); }

}  // namespace planish::tools
