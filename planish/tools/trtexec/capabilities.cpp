#include "planish/tools/trtexec/capabilities.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "planish/tools/calibration/calibration_source.h"
#include "planish/tools/script_loader.h"
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
  for (const auto& [layer, types] : b.precision.layer_output_types) {
    if (types.find('+') == std::string::npos) continue;
    warnings.push_back(fmt::format("--layerOutputTypes: layer '{}' writes all its outputs in one type, the first of {}",
                                   layer, types));
  }
  for (const std::string& source : split_list(b.tactics.sources, ',')) {
    const std::string name = source.substr(std::min<size_t>(1, source.size()));
    if (name == "ONEDNN" || name == "PLANISH" || name == "REFERENCE") continue;
    warnings.push_back(
        fmt::format("--tacticSources: {} is no source of tactics on the CPU; ONEDNN, PLANISH and REFERENCE are", name));
  }
}

/// TensorRT's trtexec calibrates on random values when the file is missing; here that must be asked for.
Status check_calibration_path(const PrecisionOptions& precision) {
  const std::string& path = precision.calibration.path;
  if (!precision.calibration.given || !(precision.int8 || precision.best) || is_random_calibration(path)) return {};
  std::error_code ignored;
  const std::string file = is_script(path) ? split_script(path, "").first : path;
  if (std::filesystem::exists(file, ignored)) return {};
  return refuse("--calib", Code::not_found, fmt::format("'{}' does not exist", file),
                "give a calibration cache, a folder of pictures or arrays, .npy, .npz or a .py data loader; "
                "--calib=random calibrates on made-up values");
}

/// What the user types to get ranges.
std::string calibration_advice(const Options& options) {
  return fmt::format(
      "calibrate: trtexec --onnx={} --int8 --calib=FOLDER_OF_IMAGES --saveEngine=model.engine, or polygraphy "
      "convert {} --int8 --data-loader-script data_loader.py --calibration-cache calib.cache and then "
      "--calib=calib.cache",
      options.model.onnx_path, options.model.onnx_path);
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
  PLANISH_TRY(check_calibration_path(options.build.precision));
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
  const bool has_ranges = model.has_quantize_nodes || precision.calibration.given;
  if (precision.best && !precision.int8) {
    precision.fp16 = precision.bf16 = true;
    precision.int8 = has_ranges;
    if (!has_ranges) {
      report.warnings.push_back(
          "--best: FP32, FP16 and BF16 compete; INT8 does not, because the model has no Q/DQ nodes and --calib names "
          "nothing to calibrate on");
    }
  }
  if (!precision.int8) return report;
  if (model.has_quantize_nodes) {
    report.notes.push_back("--int8: the scales of the model's Q/DQ nodes are used");
    if (precision.calibration.given) {
      report.warnings.push_back(
          "Calibrator won't be used in explicit quantization mode: --calib is not read, because the model's Q/DQ nodes "
          "hold every scale");
    }
    return report;
  }
  if (!precision.calibration.given) {
    report.warnings.push_back(
        "--int8 without --calib: ranges are INVENTED. The speed is real, the results are meaningless. To get right "
        "ones, " +
        calibration_advice(options));
  }
  return report;
}

}  // namespace planish::tools
