#include <fmt/format.h>

#include <array>
#include <filesystem>

#include "planish/base/atomic_file.h"
#include "planish/base/output_path.h"
#include "planish/tools/polygraphy/engine_build.h"
#include "planish/tools/polygraphy/option_groups.h"
#include "planish/tools/polygraphy/tool.h"

namespace planish::tools {
namespace {

constexpr std::array kOptions{
    OptionDecl{"-o,--output", Takes::one, "FILE", "file to write; without it MODEL.engine beside the model", ""},
    OptionDecl{"--convert-to", Takes::one, "TYPE", "what to write, where the output's name does not tell",
               "onnx,trt,onnx-like-trt-network"},
};

std::string extension_of(const std::string& path) { return std::filesystem::path(path).extension().string(); }

/// "trt" or "onnx".
Result<std::string> target_type(const ParsedOptions& options, const std::string& output) {
  std::string type = options.text("--convert-to");
  if (type.empty()) type = extension_of(output) == ".onnx" ? "onnx" : "trt";
  if (type == "onnx-like-trt-network")
    return Error{.code = Code::unsupported,
                 .file = "--convert-to",
                 .what = "onnx-like-trt-network shows TensorRT's own network",
                 .fix = "use polygraphy inspect model --convert-to trt"};
  if (type == "trt" && options.text("--convert-to").empty()) {
    const std::string extension = extension_of(output);
    if (extension != ".engine" && extension != ".plan" && extension != ".trt")
      return plain_error(fmt::format("Could not automatically determine the format to convert to for: {}", output),
                         "name it .engine or .onnx, or say --convert-to trt or onnx");
  }
  return type;
}

Status write_onnx(const std::string& model, const std::string& output, const ParsedOptions& options,
                  PolygraphyLog& log) {
  PLANISH_TRY(refuse(options, {"--onnx-outputs", "--onnx-exclude-outputs", "--onnx-outputs-by-type", "--fp-to-fp16"},
                     "ONNX files are copied, not changed, here",
                     "use planish convert --fp16 for half precision, or the polygraphy Python package"));
  log.print(PolygraphyLog::info, "Loading model: " + model);
  const std::string bytes = PLANISH_TRY(read_file(model));
  log.print(PolygraphyLog::info, "Saving ONNX model to: " + output);
  return write_file_atomically(output, bytes);
}

Result<bool> convert(const ParsedOptions& options, PolygraphyLog& log) {
  const std::string& model = options.positionals[0];
  if (PLANISH_TRY(polygraphy_model(model, options.text("--model-type"))) == PolygraphyModel::engine)
    return Error{.code = Code::invalid_argument,
                 .file = model,
                 .what = "an engine cannot be converted",
                 .fix = "give the ONNX model that it was built from"};
  std::string output = options.text("-o");
  if (output.empty()) {
    output = std::filesystem::path(model).replace_extension(".engine").string();
    log.print(PolygraphyLog::info, fmt::format("No -o/--output was given: the engine is written to {}", output));
  }
  const std::string cache = options.text("--calibration-cache");
  const std::array read{model, cache, options.text("--data-loader-script")};
  PLANISH_TRY(check_output_path(output, read));
  if (!cache.empty() && !std::filesystem::exists(cache)) PLANISH_TRY(check_output_path(cache));
  if (PLANISH_TRY(target_type(options, output)) == "onnx") {
    PLANISH_TRY(write_onnx(model, output, options, log));
    return true;
  }
  const api::Engine engine = PLANISH_TRY(build_polygraphy_engine(model, options, log));
  PLANISH_TRY(save_polygraphy_engine(engine, output, log));
  return true;
}

}  // namespace

const ToolSyntax& convert_syntax() {
  static const ToolSyntax kSyntax{
      "polygraphy convert",
      "model_file",
      1,
      1,
      {logging_options(),
       {"options", kOptions},
       model_options(),
       build_options(),
       data_loader_options(),
       onnx_options(),
       tensorflow_options()},
      "Builds an engine from an ONNX model, calibrating it for INT8 when there is no cache yet.",
      "  polygraphy convert yolov8n.onnx --int8 --data-loader-script data_loader.py \\\n"
      "      --calibration-cache yolov8n.cache -o yolov8n_int8.engine\n"
      "  polygraphy convert resnet50.onnx --fp16 -o resnet50.engine --trt-min-shapes data:[1,3,224,224] \\\n"
      "      --trt-opt-shapes data:[4,3,224,224] --trt-max-shapes data:[8,3,224,224]"};
  return kSyntax;
}

int convert_main(const std::vector<std::string>& arguments) {
  return run_tool(convert_syntax(), arguments, false, convert);
}

}  // namespace planish::tools
