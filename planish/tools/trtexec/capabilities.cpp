#include "planish/tools/trtexec/capabilities.h"

#include <fmt/format.h>

#include <filesystem>

namespace planish::tools {
namespace {

Error refuse(std::string flag, Code code, std::string what, std::string fix) {
  Error error;
  error.code = code;
  error.file = std::move(flag);
  error.what = std::move(what);
  error.fix = std::move(fix);
  return error;
}

/// Warnings for what is parsed and not there yet, so that nothing is left out in silence.
void warn_of_missing_parts(const Options& options, std::vector<std::string>& warnings) {
  const BuildOptions& b = options.build;
  const InferenceOptions& i = options.inference;
  if (!b.debug_tensors.empty() || b.mark_unfused_debug || !i.debug_tensor_files.empty() ||
      !i.all_debug_tensor_formats.empty()) {
    warnings.push_back(
        "debug tensors are not available yet: nothing is marked or written; polygraphy surgeon extract cuts a model at "
        "any "
        "tensor");
  }
  if (!b.precision.layer_output_types.empty() && b.precision.constraints != "none") {
    warnings.push_back("--layerOutputTypes is not applied yet; --layerPrecisions is");
  }
  if (!b.precision.calibration_shapes.empty()) {
    warnings.push_back("calibration shapes are not used: calibration is not available yet");
  }
  for (const auto* formats : {&b.input_formats, &b.output_formats}) {
    for (const std::string& entry : *formats) {
      const size_t colon = entry.find(':');
      if (colon == std::string::npos || entry.substr(0, colon) == "fp32") continue;
      warnings.push_back(fmt::format("IO type '{}' is not applied: inputs and outputs keep the model's types",
                                     entry.substr(0, colon)));
    }
  }
}

}  // namespace

Result<CapabilityReport> check_system_capabilities(Options& options) {
  CapabilityReport report;
  SystemOptions& system = options.system;
  if (system.device != "cpu" && system.device != "0") {
    return refuse("--device", Code::not_found,
                  fmt::format("device {} does not exist: this build of planish runs on the CPU, which is device 0",
                              system.device),
                  "drop the flag, or use --device=cpu");
  }
  if (system.device_given && system.device == "0")
    report.notes.push_back("--device=0 is the CPU: no GPU is supported yet");
  if (system.dla_core >= 0) {
    if (!options.build.allow_gpu_fallback) {
      return refuse(
          "--useDLACore", Code::unsupported,
          fmt::format("Cannot create DLA engine, {} not available: there is no DLA here and every layer would "
                      "have to run on it",
                      system.dla_core),
          "add --allowGPUFallback to run all layers on the CPU, or drop --useDLACore");
    }
    report.warnings.push_back(
        fmt::format("--useDLACore={}: there is no DLA here; with --allowGPUFallback every layer falls back to the CPU",
                    system.dla_core));
    system.dla_core = -1;
  }
  if (options.build.report_dla_capability) {
    report.warnings.push_back("--reportCapabilityDLA: there is no DLA here, so no node could run on one");
  }
  for (const auto& [layer, device] : options.build.precision.layer_device_types) {
    if (device == "CPU") continue;
    report.warnings.push_back(
        fmt::format("--layerDeviceTypes: there is no {} here, layer '{}' runs on the CPU", device, layer));
  }
  const PrecisionOptions& precision = options.build.precision;
  std::error_code ignored;
  if (precision.int8 && !precision.calibration_path.empty() &&
      !std::filesystem::exists(precision.calibration_path, ignored)) {
    return refuse("--calib", Code::not_found, fmt::format("'{}' does not exist", precision.calibration_path),
                  "give a calibration cache, an image folder, a .npy or a .npz file");
  }
  if (options.build.tactics.sparsity == "force") {
    report.warnings.push_back("--sparsity=force: weights are left as they are, no sparse kernel exists on the CPU");
  } else if (options.build.tactics.sparsity == "enable") {
    report.notes.push_back("--sparsity=enable: no sparse kernel exists on the CPU, dense ones compete alone");
  }
  warn_of_missing_parts(options, report.warnings);
  return report;
}

Result<CapabilityReport> check_model_capabilities(Options& options, const ModelRecord& model) {
  CapabilityReport report;
  PrecisionOptions& precision = options.build.precision;
  if (precision.best && !precision.int8) {
    precision.fp16 = precision.bf16 = true;
    precision.int8 = model.has_quantize_nodes;
    if (!model.has_quantize_nodes) {
      report.warnings.push_back(
          "--best: FP32, FP16 and BF16 compete; INT8 does not, because the model has no Q/DQ nodes and calibration is "
          "not "
          "available yet");
    }
  }
  if (!precision.int8) return report;
  if (model.has_quantize_nodes) {
    report.notes.push_back("--int8: the scales of the model's Q/DQ nodes are used");
    if (!precision.calibration_path.empty()) {
      report.warnings.push_back("--calib is not read: the model's Q/DQ nodes already hold every scale");
    }
    return report;
  }
  return refuse("--int8", Code::unsupported,
                precision.calibration_path.empty()
                    ? "the model has no Q/DQ nodes, so INT8 needs calibration, which is not available yet"
                    : fmt::format("calibration from '{}' is not available yet and the model has no Q/DQ nodes",
                                  precision.calibration_path),
                "use --fp16, --bf16 or --best, or a model that was exported with Q/DQ nodes (QAT or PTQ)");
}

}  // namespace planish::tools
