#include "planish/tools/trtexec/run.h"

#include <fmt/format.h>

#include <filesystem>

#include "planish/base/atomic_file.h"
#include "planish/base/output_path.h"
#include "planish/tools/trtexec/accuracy.h"
#include "planish/tools/trtexec/capabilities.h"
#include "planish/tools/trtexec/debug_tensors.h"
#include "planish/tools/trtexec/dla.h"
#include "planish/tools/trtexec/json_text.h"
#include "planish/tools/trtexec/layer_report.h"
#include "planish/tools/trtexec/options_report.h"
#include "planish/tools/trtexec/profile_report.h"
#include "planish/tools/trtexec/progress.h"
#include "planish/tools/trtexec/shapes.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

std::string mib_text(int64_t bytes) { return number_text(static_cast<double>(bytes) / (1 << 20)) + " MiB"; }

}  // namespace

void Run::show(const std::vector<std::string>& notes, const std::vector<std::string>& warnings) {
  for (const std::string& note : notes) log_.info(note);
  for (const std::string& warning : warnings) log_.warn(warning);
}

std::string Run::verbosity() const {
  // An engine built with names only cannot show more; the flag of this run cannot either add or take away.
  return session_.engine().verbosity;
}

Status Run::check_files() const {
  std::vector<std::string> read{options_.model.onnx_path, options_.build.precision.calibration.path};
  const auto readable = [&read](const PairList& files) -> Status {
    for (const auto& [tensor, path] : files) {
      read.push_back(path);
      if (!std::filesystem::exists(path))
        return Error{.code = Code::not_found,
                     .tensor = tensor,
                     .file = path,
                     .what = "cannot be read: No such file or directory",
                     .fix = "give an existing file"};
    }
    return {};
  };
  PLANISH_TRY(readable(options_.inference.input_files));
  for (const ReferencePair& pair : options_.accuracy.pairs) {
    PLANISH_TRY(readable(pair.inputs));
    PLANISH_TRY(readable(pair.outputs));
  }
  const ReportingOptions& r = options_.reporting;
  for (const std::string* path : {&options_.build.engine.save_path, &options_.build.precision.calibration.cache_path,
                                  &r.times_path, &r.output_path, &r.profile_path, &r.layer_info_path}) {
    if (!path->empty()) PLANISH_TRY(check_output_path(*path, read));
  }
  return {};
}

Status Run::introduce() {
  report_options(log_, options_);
  const CapabilityReport report = PLANISH_TRY(check_system_capabilities(options_));
  show(report.notes, report.warnings);
  report_device(log_, session_.device());
  return {};
}

Status Run::obtain_engine() {
  PLANISH_TRY(check_files());
  if (options_.build.engine.load_path.empty()) return build();
  PLANISH_TRY(load());
  return partition();
}

Status Run::partition() {
  engine_ = session_.engine();
  const bool use_dla = options_.system.dla_core >= 0;
  const bool report_only = options_.build.report_dla_capability;
  const PairList& devices = options_.build.precision.layer_device_types;
  if (!use_dla && !report_only && devices.empty()) return {};
  std::vector<LayerRecord> layers = engine_.layers;
  const DlaPartition dla = partition_for_dla(layers, use_dla || report_only, devices);
  for (const std::string& line : dla.refusals) log_.warn(line);
  for (const std::string& line : dla.summary) log_.info(line);
  if (use_dla || !devices.empty()) engine_.layers = std::move(layers);
  if (!use_dla || options_.build.allow_gpu_fallback || dla.refusals.empty()) return {};
  Error error;
  error.code = Code::unsupported;
  error.file = "--useDLACore";
  error.what = fmt::format("Cannot create DLA engine: {} of {} layers cannot run on a DLA, they are listed above",
                           dla.refusals.size(), engine_.layers.size());
  error.fix = "add --allowGPUFallback to run them on the other device, or drop --useDLACore";
  return error;
}

Status Run::build() {
  log_.info("Start parsing network model.");
  const double parse_start_ms = clock_.now_ms();
  const ModelRecord model = PLANISH_TRY(session_.read_model(options_.model.onnx_path));
  log_.info(fmt::format("Finished parsing network model. Parse time: {} sec.",
                        number_text((clock_.now_ms() - parse_start_ms) / 1000)));
  log_.detail(fmt::format("{} nodes, opset {}, written by {}", model.node_count, model.opset, model.producer));
  const CapabilityReport report = PLANISH_TRY(check_model_capabilities(options_, model));
  show(report.notes, report.warnings);
  ShapeLog shape_log;
  auto profiles = resolve_build_profiles(options_, model, shape_log);
  show(shape_log.notes, shape_log.warnings);
  if (!profiles) return std::move(profiles).take_error();

  const double build_start_ms = clock_.now_ms();
  ProgressLine progress(log_);
  const BuildRequest request{.options = options_,
                             .profiles = std::move(profiles).take_value(),
                             .progress = [&](const BuildProgress& p) { progress.update(p.phase, p.done, p.total); }};
  auto built = session_.build(request);
  progress.finish();
  if (!built) return std::move(built).take_error();
  show(built->notes, built->warnings);
  const EngineRecord& engine = session_.engine();
  log_.info(fmt::format("Engine built in {} sec.", number_text((clock_.now_ms() - build_start_ms) / 1000)));
  log_.info("Created engine with size: " + mib_text(engine.size_bytes));
  log_.detail(fmt::format("Timing cache: {} hits, {} misses", built->timing_cache_hits, built->timing_cache_misses));
  if (engine.activation_bytes > 0) {
    log_.info(fmt::format("Activation memory: {}, peak at layer {}", mib_text(engine.activation_bytes),
                          engine.activation_peak_layer));
  }
  if (options_.build.monitor_memory) {
    log_.info("Peak memory of the process after the build: " + mib_text(built->peak_memory_bytes));
  }
  if (built->tuning_peak_bytes > 0) {
    log_.info(fmt::format("Memory for timing tactics: {} at most, at layer {}", mib_text(built->tuning_peak_bytes),
                          built->tuning_peak_layer));
  }
  PLANISH_TRY(partition());
  if (!options_.build.engine.save_path.empty()) return save(options_.build.engine.save_path);
  return {};
}

Status Run::save(const std::string& path) {
  const bool strip = options_.build.engine.strip_weights;
  PLANISH_TRY(session_.save(path, strip));
  log_.info(fmt::format("Engine saved to {}{}", path,
                        strip ? fmt::format(" without weights: {}; run it with --refitFromOnnx --onnx=FILE",
                                            mib_text(session_.engine().size_bytes))
                              : ""));
  return {};
}

Status Run::load() {
  const EngineFileOptions& file = options_.build.engine;
  const double start_ms = clock_.now_ms();
  PLANISH_TRY(session_.load(file.load_path));
  const double load_s = (clock_.now_ms() - start_ms) / 1000;
  const EngineRecord& engine = session_.engine();
  log_.info(fmt::format("Engine loaded in {} sec.", number_text(load_s)));
  log_.info("Loaded engine with size: " + mib_text(engine.size_bytes));
  // Loading maps the file and reads its tables, so it is the deserialisation too.
  log_.info(fmt::format("Engine deserialized in {} sec.", number_text(load_s)));
  for (const std::string& note : engine.notes) log_.warn(note);
  if (file.refit_from_onnx) {
    PLANISH_TRY(session_.refit(options_.model.onnx_path, options_));
    log_.info(fmt::format("Engine refitted with the weights of {}", options_.model.onnx_path));
  }
  if (!file.retune) return {};
  PLANISH_TRY(session_.retune(options_));
  return save(file.load_path);
}

Status Run::time_deserialize() {
  constexpr int kRepeats = 10;
  const EngineFileOptions& file = options_.build.engine;
  const std::string path = file.load_path.empty() ? file.save_path : file.load_path;
  if (path.empty()) {
    Error error;
    error.code = Code::invalid_argument;
    error.file = "--timeDeserialize";
    error.what = "needs an engine file";
    error.fix = "add --saveEngine=FILE, or time an existing one with --loadEngine=FILE";
    return error;
  }
  std::vector<double> times_ms;
  for (int i = 0; i < kRepeats; ++i) {
    const double start_ms = clock_.now_ms();
    PLANISH_TRY(session_.load(path));
    times_ms.push_back(clock_.now_ms() - start_ms);
  }
  const TimeStatistics s = time_statistics(times_ms, {});
  log_.info(fmt::format("Deserialization time over {} loads: min = {} ms, max = {} ms, mean = {} ms, median = {} ms",
                        kRepeats, number_text(s.min), number_text(s.max), number_text(s.mean), number_text(s.median)));
  return {};
}

Status Run::time_refit() {
  if (options_.model.onnx_path.empty()) {
    Error error;
    error.code = Code::invalid_argument;
    error.file = "--timeRefit";
    error.what = "needs a model to take weights from";
    error.fix = "add --onnx=FILE";
    return error;
  }
  const double start_ms = clock_.now_ms();
  PLANISH_TRY(session_.refit(options_.model.onnx_path, options_));
  log_.info(fmt::format("Engine refitted in {} sec.", number_text((clock_.now_ms() - start_ms) / 1000)));
  return {};
}

Status Run::describe_engine() {
  const ReportingOptions& r = options_.reporting;
  const EngineRecord& engine = engine_;
  if (engine.calibration != "none") log_.info("Calibration of this engine: " + engine.calibration);
  if (r.dump_refit) {
    const std::vector<std::string> names = session_.refittable_weights();
    log_.info(names.empty() ? "Refittable weights: none; build with --refit" : "Refittable weights:");
    for (const std::string& name : names) log_.info("  " + name);
  }
  if (r.dump_layer_info) log_.info("Layer Information:\n" + layer_info_text(engine, verbosity()));
  if ((r.dump_layer_info || !r.layer_info_path.empty()) && verbosity() != "detailed") {
    log_.info(fmt::format("The engine was built with --profilingVerbosity={}: rebuild with detailed to see more",
                          verbosity()));
  }
  if (!r.layer_info_path.empty()) {
    PLANISH_TRY(write_file_atomically(r.layer_info_path, layer_info_json(engine, verbosity())));
    log_.info(fmt::format("Layer information written to {}", r.layer_info_path));
  }
  if (r.dump_optimization_profile) report_optimization_profiles(log_, engine);
  return {};
}

Status Run::infer() {
  const InferenceOptions& i = options_.inference;
  if (i.time_deserialize) return time_deserialize();
  if (i.time_refit) PLANISH_TRY(time_refit());
  if (i.skip) {
    log_.info("Skipped inference phase since --skipInference is added.");
    return {};
  }
  if (session_.engine().weights_stripped) {
    Error error;
    error.code = Code::unsupported;
    error.file = options_.build.engine.load_path;
    error.what = "the engine was written without weights";
    error.fix = "add --refitFromOnnx --onnx=FILE, the model that it was built from";
    return error;
  }
  ShapeLog shape_log;
  auto shapes = resolve_run_shapes(options_, session_.engine(), shape_log);
  show(shape_log.notes, shape_log.warnings);
  if (!shapes) return std::move(shapes).take_error();
  Inference inference(session_, options_, log_, clock_);
  log_.info(fmt::format("Setting up inference: {} stream(s), random seed {}", i.streams, i.random_seed));
  PLANISH_TRY(inference.prepare(*shapes));
  log_.info("Starting inference");
  log_.info("The device is the CPU: H2D and D2H Latency are 0 and GPU Compute Time is the time on the CPU.");
  const std::vector<QueryTrace> trace = PLANISH_TRY(inference.run_timed());
  report_performance(log_, trace, i, options_.reporting);
  const std::vector<QueryTrace> timed = without_warm_up(trace, i.warm_up_ms);
  std::vector<double> compute_ms;
  for (const QueryTrace& query : timed) compute_ms.push_back(query.compute_ms());
  median_ms_ = time_statistics(std::move(compute_ms), {}).median;
  if (!options_.reporting.times_path.empty()) {
    PLANISH_TRY(write_file_atomically(options_.reporting.times_path, times_json(timed)));
    log_.info(fmt::format("Times written to {}", options_.reporting.times_path));
  }
  PLANISH_TRY(report_results(inference));
  if (!i.debug_tensor_files.empty() || !i.all_debug_tensor_formats.empty()) {
    const std::vector<HostTensor> marked = PLANISH_TRY(inference.debug_tensors());
    PLANISH_TRY(save_debug_tensors(marked, i, log_));
  }
  PLANISH_TRY(report_layers_profile(inference));
  return check_accuracy(inference, options_.accuracy, log_);
}

Status Run::report_results(Inference& inference) {
  const ReportingOptions& r = options_.reporting;
  if (!r.dump_output && r.output_path.empty() && !r.dump_raw_bindings) return {};
  const std::vector<HostTensor> tensors = PLANISH_TRY(inference.tensors());
  if (r.dump_output) report_outputs(log_, tensors);
  if (!r.output_path.empty()) {
    PLANISH_TRY(write_file_atomically(r.output_path, outputs_json(tensors)));
    log_.info(fmt::format("Outputs written to {}", r.output_path));
  }
  if (r.dump_raw_bindings) PLANISH_TRY(write_raw_files(log_, tensors));
  return {};
}

Status Run::report_layers_profile(Inference& inference) {
  const ReportingOptions& r = options_.reporting;
  if (!r.dump_profile && r.profile_path.empty()) return {};
  const auto runs = PLANISH_TRY(inference.run_profiled());
  const auto layers = PLANISH_TRY(inference.layers());
  const auto records = profile_records(layers, runs, r.extra_profile_columns);
  if (r.dump_profile) report_profile(log_, records);
  if (!r.profile_path.empty()) {
    PLANISH_TRY(write_file_atomically(r.profile_path, profile_json(records)));
    log_.info(fmt::format("Profile written to {}", r.profile_path));
  }
  return {};
}

Status Run::all() {
  PLANISH_TRY(introduce());
  PLANISH_TRY(obtain_engine());
  PLANISH_TRY(describe_engine());
  return infer();
}

}  // namespace planish::tools
