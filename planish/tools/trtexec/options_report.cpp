#include "planish/tools/trtexec/options_report.h"

#include <fmt/format.h>

#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

std::string enabled(bool on) { return on ? "Enabled" : "Disabled"; }

std::string or_default(const std::string& text, const std::string& fallback) { return text.empty() ? fallback : text; }

std::string joined(const PairList& pairs) {
  std::vector<std::string> parts;
  for (const auto& [name, value] : pairs) parts.push_back(name + ':' + value);
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string pool_text(const MemoryPools& pools) {
  const auto one = [](std::string_view name, const std::optional<int64_t>& bytes) {
    if (!bytes) return fmt::format("{}: default", name);
    return fmt::format("{}: {} MiB", name, number_text(static_cast<double>(*bytes) / (1 << 20)));
  };
  return fmt::format("{}, {}, {}, {}, {}", one("workspace", pools.workspace_bytes),
                     one("dlaSRAM", pools.dla_sram_bytes), one("dlaLocalDRAM", pools.dla_local_dram_bytes),
                     one("dlaGlobalDRAM", pools.dla_global_dram_bytes),
                     one("tacticSharedMem", pools.tactic_shared_mem_bytes));
}

std::string precision_text(const PrecisionOptions& p) {
  if (p.strongly_typed) return "Strongly Typed";
  std::string text = "FP32";
  if (p.fp16 || p.best) text += "+FP16";
  if (p.bf16 || p.best) text += "+BF16";
  if (p.int8 || p.best) text += "+INT8";
  if (p.fp8) text += "+FP8";
  if (p.int4) text += "+INT4";
  return text;
}

std::string calibration_text(const PrecisionOptions& p) {
  if (!p.int8 && !p.best) return "";
  return p.calibration.path.empty() ? "Dynamic" : p.calibration.path;
}

void report_shapes(Log& log, std::string_view title, const std::vector<ProfileShapes>& profiles) {
  if (profiles.empty()) return log.info(fmt::format("{}: model", title));
  for (size_t i = 0; i < profiles.size(); ++i) {
    for (const auto& [name, min] : profiles[i].min) {
      const Dims* opt = find_shape(profiles[i].opt, name);
      const Dims* max = find_shape(profiles[i].max, name);
      if (opt == nullptr || max == nullptr) continue;
      log.info(fmt::format("Input build shape (profile {}): {}={}+{}+{}", i, name, dims_text(min), dims_text(*opt),
                           dims_text(*max)));
    }
  }
}

void report_build(Log& log, const Options& o) {
  const BuildOptions& b = o.build;
  log.info("Memory Pools: " + pool_text(b.pools));
  log.info(fmt::format("avgTiming: {}", b.tactics.avg_timing_runs));
  log.info("Precision: " + precision_text(b.precision));
  log.info("Precision Constraints: " + b.precision.constraints);
  log.info("LayerPrecisions: " + joined(b.precision.layer_precisions));
  log.info("Layer Output Types: " + joined(b.precision.layer_output_types));
  log.info("Layer Device Types: " + joined(b.precision.layer_device_types));
  log.info("Calibration: " + calibration_text(b.precision));
  log.info("Refit: " + enabled(b.engine.refit));
  log.info("Strip weights: " + enabled(b.engine.strip_weights));
  log.info("TF32: " + enabled(b.precision.tf32));
  log.info("Sparsity: " + b.tactics.sparsity);
  log.info("GPU Fallback: " + enabled(b.allow_gpu_fallback));
  log.info("Profiling verbosity: " + b.profiling_verbosity);
  log.info("Tactic sources: " + or_default(b.tactics.sources, "Using default tactic sources"));
  const std::string cache = b.tactics.use_timing_cache ? or_default(b.tactics.timing_cache_path, "global") : "disable";
  log.info("timingCacheMode: " + cache);
  log.info("errorOnTimingCacheMiss: " + enabled(b.tactics.error_on_timing_cache_miss));
  log.info(fmt::format("Builder optimization level: {}", b.tactics.optimization_level));
  log.info(fmt::format("MaxTactics: {}", b.tactics.max_tactics));
  log.info(fmt::format("Disabled passes: {}", fmt::join(b.tactics.disabled_passes, ", ")));
  log.info("Save engine: " + b.engine.save_path);
  log.info(fmt::format("Input(s) format: {}",
                       b.input_formats.empty() ? "fp32:chw" : fmt::format("{}", fmt::join(b.input_formats, ", "))));
  log.info(fmt::format("Output(s) format: {}",
                       b.output_formats.empty() ? "fp32:chw" : fmt::format("{}", fmt::join(b.output_formats, ", "))));
  report_shapes(log, "Input build shapes", b.profiles);
}

void report_inference(Log& log, const InferenceOptions& i) {
  log.info("Batch: Explicit");
  if (i.shapes.empty()) log.info("Input inference shapes: model");
  for (const auto& [name, dims] : i.shapes)
    log.info(fmt::format("Input inference shape: {}={}", name, dims_text(dims)));
  log.info(fmt::format("Iterations: {}", i.iterations));
  log.info(fmt::format("Duration: {}s (+ {}ms warm up)", number_text(i.duration_s), number_text(i.warm_up_ms)));
  log.info(fmt::format("Sleep time: {}ms", number_text(i.sleep_ms)));
  log.info(fmt::format("Idle time: {}ms", number_text(i.idle_ms)));
  log.info(fmt::format("Inference Streams: {}", i.streams));
  log.info("ExposeDMA: " + enabled(i.expose_dma));
  log.info("Data transfers: " + enabled(i.data_transfers));
  log.info("Spin-wait: " + enabled(i.spin_wait));
  log.info("Multithreading: " + enabled(i.thread_per_stream));
  log.info("CUDA Graph: " + enabled(i.cuda_graph));
  log.info("Separate profiling: Enabled");
  log.info("Time Deserialize: " + enabled(i.time_deserialize));
  log.info("Time Refit: " + enabled(i.time_refit));
  log.info("Skip inference: " + enabled(i.skip));
  log.info(fmt::format("Profile index: {}", i.profile_index));
  log.info("Allocation strategy: " + i.allocation_strategy);
  log.info("Inputs: " + joined(i.input_files));
  log.info(fmt::format("Random seed: {}", i.random_seed));
}

void report_reporting(Log& log, const ReportingOptions& r) {
  std::vector<std::string> percentiles;
  for (double p : r.percentiles) percentiles.push_back(number_text(p));
  log.info("Verbose: " + enabled(r.verbose));
  log.info(fmt::format("Averages: {} inferences", r.average_runs));
  log.info(fmt::format("Percentiles: {}", fmt::join(percentiles, ",")));
  log.info("Dump refittable layers: " + enabled(r.dump_refit));
  log.info("Dump output: " + enabled(r.dump_output));
  log.info("Profile: " + enabled(r.dump_profile));
  log.info("Export timing to JSON file: " + r.times_path);
  log.info("Export output to JSON file: " + r.output_path);
  log.info("Export profile to JSON file: " + r.profile_path);
  log.info("Export layer information to JSON file: " + r.layer_info_path);
}

}  // namespace

void report_options(Log& log, const Options& options) {
  log.info("=== Model Options ===");
  log.info(fmt::format("Format: {}", options.model.onnx_path.empty() ? "*" : "ONNX"));
  log.info("Model: " + options.model.onnx_path);
  log.info("Output:");
  log.info("=== Build Options ===");
  if (options.build.engine.load_path.empty()) report_build(log, options);
  log.info("=== System Options ===");
  log.info("Device: " + options.system.device);
  log.info(fmt::format("DLACore: {}", options.system.dla_core < 0 ? "" : std::to_string(options.system.dla_core)));
  log.info(fmt::format("CPU threads: {}",
                       options.system.cpu_threads == 0 ? "all cores" : std::to_string(options.system.cpu_threads)));
  log.info("Plugins:");
  log.info("=== Inference Options ===");
  report_inference(log, options.inference);
  log.info("=== Reporting Options ===");
  report_reporting(log, options.reporting);
  log.info("");
}

void report_device(Log& log, const DeviceRecord& device) {
  log.info("=== Device Information ===");
  log.info("Selected Device: " + device.name);
  log.info("Instruction set: " + device.isa);
  log.info(fmt::format("Cores: {}", device.cores));
  log.info(fmt::format("Memory: {} MiB", device.memory_bytes >> 20));
  log.info("");
  log.info(fmt::format("TensorRT version: {}", kImitatedVersion));
  log.info(fmt::format("planish version: {} (the command line and reports of TensorRT {}, no TensorRT inside)",
                       device.library_version, kImitatedVersion));
}

}  // namespace planish::tools
