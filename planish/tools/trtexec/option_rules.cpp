#include "planish/tools/trtexec/option_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "planish/tools/trtexec/io_format.h"

namespace planish::tools {
namespace {

using Given = std::map<std::string, std::string>;

void complain(ParsedCommandLine& line, std::string flag, std::string what, std::string fix) {
  Error error;
  error.code = Code::invalid_argument;
  error.file = std::move(flag);
  error.what = std::move(what);
  error.fix = std::move(fix);
  line.errors.push_back(std::move(error));
}

/// Two flags that contradict each other, or one that needs another: rows of a table.
struct Rule {
  std::string_view flag;
  std::string_view other;
  bool together;  ///< true: `flag` needs `other`; false: `flag` excludes `other`
  std::string_view fix;
};

constexpr Rule kRules[] = {
    {"--saveEngine", "--loadEngine", false, "build from --onnx to save, or load an engine that exists"},
    {"--fp8", "--int8", false, "keep one of them"},
    {"--weightStreamingBudget", "--allowWeightStreaming", true, "add --allowWeightStreaming or drop the budget"},
    {"--getPlanVersionOnly", "--loadEngine", true, "add --loadEngine=FILE"},
    {"--refitFromOnnx", "--loadEngine", true, "add --loadEngine=FILE"},
    {"--refitFromOnnx", "--onnx", true, "add --onnx=FILE"},
    {"--retune", "--loadEngine", true, "add --loadEngine=FILE"},
    {"--loadRefOutputs", "--accuracyThreshold", true, "add --accuracyThreshold=X, the largest loss that passes"},
    {"--tuneBuildRoutes", "--tuneBuildRouteFile", false, "keep one of them"},
    {"--tuneBuildRoutes", "--setBuildRoute", false, "keep one of them"},
    {"--tuneBuildRoutes", "--loadEngine", false, "routes are built from --onnx"},
    {"--continue", "--tuningCacheFile", true, "add --tuningCacheFile=FILE of the interrupted run"},
    {"--buildDLAStandalone", "--allowGPUFallback", false, "drop both"},
};

void check_rules(ParsedCommandLine& line, const Given& given) {
  for (const Rule& rule : kRules) {
    if (given.count(std::string(rule.flag)) == 0) continue;
    const bool other = given.count(std::string(rule.other)) != 0;
    if (other == rule.together) continue;
    complain(
        line, std::string(rule.flag),
        rule.together ? fmt::format("needs {}", rule.other) : fmt::format("cannot be combined with {}", rule.other),
        std::string(rule.fix));
  }
}

void check_sources(ParsedCommandLine& line, const Given& given) {
  const Options& o = line.options;
  const bool has_model = !o.model.onnx_path.empty();
  const bool has_engine = !o.build.engine.load_path.empty();
  if (!has_model && !has_engine && !o.model.help && !o.tuning.help && !o.tuning.resume && !given.empty() &&
      line.unknown.empty() && line.errors.empty()) {
    complain(line, "", "no model and no engine given", "add --onnx=FILE to build, or --loadEngine=FILE to run");
  }
  if (has_model && has_engine && !o.build.engine.refit_from_onnx) {
    line.warnings.push_back("--onnx is not read: --loadEngine names an engine that is already built");
  }
  if (o.build.runtime != "full" && !has_engine) {
    complain(line, "--useRuntime", fmt::format("{} cannot build an engine", o.build.runtime),
             "build with the full runtime, then run with --loadEngine");
  }
  if (o.tuning.dry_run && o.tuning.search == "mixed") {
    complain(line, "--dryRun", "cannot list the routes of --tuningSearch=mixed: the second round depends on the first",
             "use fast or full");
  }
  if (o.tuning.resume && given.size() > 2) {
    complain(line, "--continue", "takes its options from the cache file", "keep only --continue and --tuningCacheFile");
  }
}

void check_profiles(ParsedCommandLine& line, const ParseState& state, const Given& given) {
  std::vector<int> order = state.profile_order;
  std::sort(order.begin(), order.end());
  for (size_t i = 0; i < order.size(); ++i) {
    if (order[i] == static_cast<int>(i)) continue;
    complain(line, "--profile", fmt::format("profile {} is missing", i), "number profiles 0, 1, 2, ... without gaps");
    return;
  }
  auto& profiles = line.options.build.profiles;
  const bool building = line.options.build.engine.load_path.empty();
  const ShapeList& run_shapes = line.options.inference.shapes;
  if (profiles.empty() && building && !run_shapes.empty()) {
    profiles.push_back({.min = run_shapes, .opt = run_shapes, .max = run_shapes});
  }
  for (ProfileShapes& profile : profiles) {
    const Status status = complete_profile(profile, line.warnings);
    if (!status) line.errors.push_back(status.error());
  }
  ProfileShapes& calib = line.options.build.precision.calibration.shapes;
  if (!calib.empty() && (calib.opt.empty() || calib.min.empty() != calib.max.empty())) {
    complain(line, "--optShapesCalib", "calibration shapes are incomplete",
             "give --optShapesCalib alone, or all of --minShapesCalib, --optShapesCalib and --maxShapesCalib");
  }
  if (!building && (given.count("--minShapes") + given.count("--optShapes") + given.count("--maxShapes")) != 0) {
    line.warnings.push_back(
        "profile shapes are fixed in a built engine: --minShapes, --optShapes and --maxShapes are ignored");
  }
}

void check_precisions(ParsedCommandLine& line) {
  PrecisionOptions& p = line.options.build.precision;
  const bool any_flag = p.fp16 || p.bf16 || p.int8 || p.best;
  if (p.strongly_typed && any_flag) {
    line.warnings.push_back(
        "--stronglyTyped: types follow the model, so --fp16, --bf16, --int8 and --best are ignored");
    p.fp16 = p.bf16 = p.int8 = p.best = false;
  }
  const bool has_lists = !p.layer_precisions.empty() || !p.layer_output_types.empty();
  if (p.constraints != "none" && !has_lists && line.errors.empty()) {
    line.warnings.push_back(
        fmt::format("--precisionConstraints={} has nothing to work on without --layerPrecisions or --layerOutputTypes",
                    p.constraints));
  }
  if (p.constraints == "none" && has_lists) {
    line.warnings.push_back(
        "--layerPrecisions and --layerOutputTypes are ignored while --precisionConstraints is none; use prefer or "
        "obey");
  }
  if (p.int8 && !p.fp16 && !p.best) {
    line.notes.push_back(
        "--int8 without --fp16: layers without an INT8 tactic run in FP32; --fp16 or --best may be faster");
  }
  if (p.calibration.given && !p.int8 && !p.best) {
    line.warnings.push_back("--calib is not read: neither --int8 nor --best is given");
  }
  if (p.calibration.given && !line.options.build.engine.load_path.empty()) {
    line.warnings.push_back("--calib is not read: --loadEngine names an engine that is already built");
  }
}

void check_dla(ParsedCommandLine& line) {
  Options& o = line.options;
  if (o.system.dla_core < 0) return;
  if (!o.build.precision.int8 && !o.build.precision.fp16) {
    o.build.precision.fp16 = true;
    line.notes.push_back("--useDLACore: a DLA computes in FP16 or INT8, so --fp16 is switched on");
  }
}

}  // namespace

void apply_option_rules(ParsedCommandLine& line, const ParseState& state, const Given& given) {
  check_rules(line, given);
  check_sources(line, given);
  check_profiles(line, state, given);
  check_precisions(line);
  check_dla(line);
  if (line.options.tuning.resume) return;
  auto& formats = line.options.build;
  for (auto* list : {&formats.input_formats, &formats.output_formats}) {
    for (const std::string& entry : *list) {
      const IoFormatEntry format = parse_io_format(entry);
      if (format.layout.empty()) {
        line.warnings.push_back(fmt::format(
            "IO layout '{}' is not available at the boundary, only chw, hwc and chw16: chw (row-major) is used",
            format.layout_word));
      }
    }
  }
}

}  // namespace planish::tools
