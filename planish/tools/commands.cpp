#include "planish/tools/commands.h"

#include <fmt/format.h>

#include <cstdio>

#include "planish/api/engine.h"
#include "planish/tools/planish_commands.h"
#include "planish/tools/polygraphy/polygraphy.h"
#include "planish/tools/trtexec/flags.h"
#include "planish/tools/trtexec/text.h"
#include "planish/tools/trtexec/trtexec.h"

namespace planish::tools {
namespace {

std::vector<std::string> no_words() { return {}; }

constexpr Command kCommands[] = {
    {"trtexec", "build, run, time and inspect engines with trtexec's command line",
     "planish trtexec --onnx=model.onnx --saveEngine=model.engine --dumpProfile", trtexec_main, completion_words},
    {"polygraphy", "run, compare, convert and inspect models with polygraphy's command line",
     "planish polygraphy run model.onnx --trt --onnxrt --atol 1e-3", polygraphy_main, polygraphy_words},
    {"build", "build an engine from an ONNX model", "planish build model.onnx -o model.engine --fp16", build_main,
     build_words},
    {"run", "run an engine once on files and show or write its outputs",
     "planish run model.engine --input=cat.jpg --preset=imagenet", run_main, run_words},
    {"bench", "time an engine: latency percentiles and throughput", "planish bench model.engine --duration=10",
     bench_main, bench_words},
    {"inspect", "show what an engine or ONNX model holds, layer by layer", "planish inspect model.engine --profile",
     inspect_main, inspect_words},
    {"compare", "join two engines' layers on their ONNX nodes, with times",
     "planish compare fp32.engine bf16.engine --sort=delta", compare_main, compare_words},
    {"eval", "measure accuracy: top-1 and top-5, or COCO mAP",
     "planish eval model.engine --data=images/labels.csv --preset=imagenet", eval_main, eval_words},
    {"quantize", "write an INT8 model with Q/DQ nodes, calibrated on your data",
     "planish quantize model.onnx --calib=images/ -o model_qdq.onnx --eval=test.npz --max-drop=1%", quantize_main,
     quantize_words},
    {"convert", "write an FP16 or BF16 model", "planish convert model.onnx --fp16 -o model_fp16.onnx", convert_main,
     convert_words},
    {"cache", "show, edit and convert calibration caches", "planish cache show model.cache", cache_main, cache_words},
    {"sensitivity", "say which nodes INT8 hurts, and what keeping them in float costs",
     "planish sensitivity model.onnx --calib=images/", sensitivity_main, sensitivity_words},
    {"compare-precisions", "FP32, FP16, BF16 and INT8 engines of a model side by side",
     "planish compare-precisions model.onnx --calib=images/ --eval=test.npz", compare_precisions_main,
     compare_precisions_words},
    {"completion", "print shell completion: bash",
     "planish completion bash > ~/.local/share/bash-completion/completions/planish", completion_main,
     completion_shells},
    {"flags-doc", "print the table of trtexec flags as Markdown", "planish flags-doc > docs/trtexec_flags.md",
     flags_doc_main, no_words},
};

std::string_view base_name(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

}  // namespace

std::span<const Command> command_table() { return kCommands; }

const Command* find_command(std::string_view name) {
  for (const Command& command : kCommands) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

std::string command_listing() {
  std::string out =
      "planish builds, runs and inspects neural network engines.\n\nUsage: planish COMMAND [arguments]\n\n";
  for (const Command& command : kCommands) {
    out += fmt::format("  {:<18} {}\n  {:<18}   {}\n", command.name, command.summary, "", command.example);
  }
  return out + "\n`planish COMMAND --help` explains a command.\n";
}

int dispatch(int argc, char** argv) {
  constexpr int kUsageError = 2;
  const std::string_view program = argc > 0 ? base_name(argv[0]) : "planish";
  if (const Command* command = find_command(program); command != nullptr && program != "completion") {
    return command->run(argc, argv);
  }
  const std::string_view name = argc > 1 ? argv[1] : "";
  if (name.empty() || name == "--help" || name == "-h" || name == "help") {
    fmt::print("{}", command_listing());
    return 0;
  }
  if (name == "--version" || name == "-V" || name == "version") {
    fmt::print("planish {}\n", api::version());
    return 0;
  }
  if (const Command* command = find_command(name)) return command->run(argc - 1, argv + 1);
  std::vector<std::string> names;
  for (const Command& command : kCommands) names.emplace_back(command.name);
  const std::string near = nearest_word(name, names);
  fmt::print(stderr, "planish: '{}' is not a command{}\n{}", name,
             near.empty() ? "." : fmt::format("; did you mean '{}'?", near), command_listing());
  return kUsageError;
}

int flags_doc_main(int, char**) {
  fmt::print("{}", flags_markdown());
  return 0;
}

}  // namespace planish::tools
