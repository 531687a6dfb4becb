#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "planish/api/convert.h"
#include "planish/base/output_path.h"
#include "planish/tools/command_line.h"
#include "planish/tools/console.h"
#include "planish/tools/node_patterns.h"
#include "planish/tools/planish_commands.h"

namespace planish::tools {
namespace {

struct ConvertCommand {
  std::string path, output_path;
  bool fp16 = false, bf16 = false, half_io = false;
  std::vector<std::string> keep_float;
  CommandLine line;

  ConvertCommand()
      : line(
            "convert",
            "Writes a half-precision model: weights and computation in FP16 or BF16 as ONNX, for every runtime that is "
            "strongly typed. Inputs and outputs stay in FP32 unless --half-io is given.",
            "  planish convert resnet50.onnx --fp16 -o resnet50_fp16.onnx\n"
            "  planish convert bert.onnx --bf16 --keep-float=/encoder/layer.11/* -o bert_bf16.onnx\n"
            "  trtexec --onnx=resnet50_fp16.onnx --stronglyTyped --saveEngine=resnet50.engine") {
    line.positional("MODEL.onnx", path, "The FP32 model");
    line.flag("--fp16", fp16, "Convert to FP16; weights beyond its range keep their node in FP32");
    line.flag("--bf16", bf16, "Convert to BF16");
    line.output("-o,--output", output_path, "FILE", "Model to write (default MODEL_fp16.onnx or MODEL_bf16.onnx)");
    line.texts("--keep-float", keep_float, "NODE[,...]", "Nodes that stay in FP32; one * allowed");
    line.flag("--half-io", half_io, "Change the type of the network's inputs and outputs too");
  }
};

Status convert(ConvertCommand& command) {
  if (command.fp16 == command.bf16)
    return Error{.code = Code::invalid_argument,
                 .what = command.fp16 ? "--fp16 and --bf16 exclude each other" : "no precision was named",
                 .fix = "give --fp16 or --bf16"};
  const std::string suffix = command.fp16 ? "_fp16.onnx" : "_bf16.onnx";
  if (command.output_path.empty()) {
    const std::filesystem::path path(command.path);
    command.output_path = (path.parent_path() / (path.stem().string() + suffix)).string();
    PLANISH_TRY(check_output_path(command.output_path));
  }
  const api::Model model = PLANISH_TRY(api::Model::read(command.path));
  for (const std::string& text : model.warnings()) warn("convert", text);
  api::HalfOptions options{.type = command.fp16 ? DType::f16 : DType::bf16, .half_io = command.half_io};
  options.keep_float = node_patterns(command.keep_float);
  for (const std::string& text : unmatched_pattern_warnings("--keep-float", options.keep_float, model.node_names()))
    warn("convert", text);
  api::HalfReport report;
  const api::Model converted = PLANISH_TRY(api::convert_to_half(model, options, &report));
  PLANISH_TRY(converted.write(command.output_path));
  std::error_code ignored;
  const auto before = std::filesystem::file_size(command.path, ignored);
  const auto after = std::filesystem::file_size(command.output_path, ignored);
  fmt::print("{}: {} nodes in {}, {} (the model was {})\n", command.output_path, report.half_nodes,
             command.fp16 ? "FP16" : "BF16", bytes_text(static_cast<int64_t>(after)),
             bytes_text(static_cast<int64_t>(before)));
  if (command.bf16)
    fmt::print(
        "  planish, TensorRT and OpenVINO run it; ONNX Runtime has no BF16 kernels for the CPU: --fp16 is for that\n");
  for (const api::FloatNode& node : report.float_nodes) fmt::print("  in FP32: {}: {}\n", node.node, node.reason);
  return {};
}

}  // namespace

int convert_main(int argc, char** argv) {
  ConvertCommand command;
  if (const auto code = command.line.parse(argc, argv)) return *code;
  const Status status = convert(command);
  return status.ok() ? 0 : fail("convert", status.error());
}

std::vector<std::string> convert_words() { return ConvertCommand().line.words(); }

}  // namespace planish::tools
