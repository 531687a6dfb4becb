#include "planish/tools/trtexec/capabilities.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "planish/tools/trtexec/text.h"

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
  if (!b.precision.layer_output_types.empty() && b.precision.constraints != "none") {
    warnings.push_back("--layerOutputTypes is not applied yet; --layerPrecisions is");
  }
  if (!b.precision.calibration_shapes.empty()) {
    warnings.push_back("calibration shapes are not used: calibration is not available yet");
  }
  for (const std::string& source : split_list(b.tactics.sources, ',')) {
    const std::string name = source.substr(std::min<size_t>(1, source.size()));
    if (name == "ONEDNN" || name == "PLANISH" || name == "REFERENCE") continue;
    warnings.push_back(
        fmt::format("--tacticSources: {} is no source of tactics on the CPU; ONEDNN, PLANISH and REFERENCE are", name));
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
    report.warnings.push_back(fmt::format(
        "--useDLACore={}: there is no DLA here; which layers would run on one is simulated, all of them run "
        "on the CPU",
        system.dla_core));
  }
  const PrecisionOptions& precision = options.build.precision;
  std::error_code ignored;
  if (precision.int8 && !precision.calibration_path.empty() &&
      !std::filesystem::exists(precision.calibration_path, ignored)) {
    return refuse("--calib", Code::not_found, fmt::format("'{}' does not exist", precision.calibration_path),
                  "give a calibration cache, an image folder, a .npy or a .npz file");
  }
  if (options.build.tactics.sparsity == "force") {
    report.warnings.push_back(
        "--sparsity=force: two of every four weights are set to zero, which changes the results; no sparse kernel "
        "exists "
        "on the CPU");
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
