#include "planish/tools/polygraphy/polygraphy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>
#include <string_view>

#include "planish/api/engine.h"
#include "planish/api/file_kind.h"
#include "planish/api/model_summary.h"
#include "planish/tools/polygraphy/inspect_arguments.h"
#include "planish/tools/polygraphy/logger.h"
#include "planish/tools/polygraphy/model_text.h"
#include "planish/tools/polygraphy/numpy_text.h"
#include "planish/tools/polygraphy/tool.h"

namespace planish::tools {
namespace {

constexpr int kFailed = 1;
constexpr int kBadArguments = 2;
/// The release whose texts are imitated.
constexpr std::string_view kImitatedPolygraphy = "0.53.6";

struct Tool {
  std::string_view name;
  std::string_view help;
};
constexpr std::array kTools{Tool{"run", "Run inference and compare results across backends"},
                            Tool{"convert", "Convert models to other formats"},
                            Tool{"inspect", "View information about models and data"},
                            Tool{"check", "Check and validate aspects of a model"},
                            Tool{"surgeon", "Modify ONNX models"},
                            Tool{"template", "Generate template files"},
                            Tool{"debug", "Find the part of a model that is to blame"},
                            Tool{"data", "Combine saved input and output data"},
                            Tool{"plugin", "Plugin related operations on an ONNX model"},
                            Tool{"multi-device", "Several devices"}};
constexpr std::array kInspectTools{Tool{"model", "Show a model or engine"},
                                   Tool{"data", "Show saved inputs and outputs"},
                                   Tool{"tactics", "Show a tactic replay"},
                                   Tool{"capability", "Show what of a model is supported"},
                                   Tool{"diff-tactics", "Show tactics that only bad replays hold"},
                                   Tool{"sparsity", "Show which weights are 2:4 sparse"}};

constexpr std::array kDataTools{Tool{"merge", "Combine saved inputs and outputs into one file for --load-inputs"},
                                Tool{"concat", "Put iterations behind each other"},
                                Tool{"to-input", "The older name of merge"}};
constexpr std::array kDebugTools{Tool{"build", "Build engines until one fails"},
                                 Tool{"precision", "Find the layers that need a higher precision"},
                                 Tool{"reduce", "Reduce a failing model"}, Tool{"repeat", "Repeat a command"}};

template <typename Tools>
bool has_tool(const Tools& tools, std::string_view name) {
  return std::any_of(tools.begin(), tools.end(), [&](const Tool& t) { return t.name == name; });
}

template <typename Tools>
std::string names_of(const Tools& tools, std::string_view separator, std::string_view quote) {
  std::string out;
  for (const Tool& t : tools) out += fmt::format("{}{}{}{}", out.empty() ? "" : separator, quote, t.name, quote);
  return out;
}

template <typename Tools>
std::string help_text(std::string_view program, const Tools& tools, std::string_view example) {
  std::string out = fmt::format("usage: {} [-h] [-v] {{{}}} ...\n\n", program, names_of(tools, ",", ""));
  for (const Tool& t : tools) out += fmt::format("  {:<14} {}\n", t.name, t.help);
  return out + fmt::format("\nexample:\n  {}\n", example);
}

template <typename Tools>
int bad_tool(std::string_view program, std::string_view argument, const Tools& tools, std::string_view given) {
  fmt::print(stderr, "usage: {} [-h] {{{}}} ...\n", program, names_of(tools, ",", ""));
  if (given.empty())
    fmt::print(stderr, "{}: error: the following arguments are required: {}\n", program, argument);
  else
    fmt::print(stderr, "{}: error: argument {}: invalid choice: '{}' (choose from {})\n", program, argument, given,
               names_of(tools, ", ", "'"));
  return kBadArguments;
}

int not_here(std::string_view tool) {
  fmt::print(stderr,
             "[!] polygraphy {} is not part of planish; the polygraphy Python package has it (python3 -m pip install "
             "polygraphy).\n",
             tool);
  return kFailed;
}

/// Tensors made by operators whose size comes from values that are no constants of the file.
std::vector<std::string> unbounded_tensors(const OnnxGraphSummary& graph) {
  std::set<std::string> constants;
  for (const OnnxInitialiser& init : graph.initialisers) constants.insert(init.info.name);
  for (const OnnxNodeSummary& node : graph.nodes)
    if (node.op == "Constant") constants.insert(node.outputs.begin(), node.outputs.end());
  std::vector<std::string> found;
  for (const OnnxNodeSummary& node : graph.nodes) {
    const size_t first = node.op == "Range" ? 0 : 1;
    const bool sized =
        node.op == "Range" || node.op == "Pad" || node.op == "Resize" || node.op == "Tile" || node.op == "Expand";
    const bool by_data =
        sized && std::any_of(node.inputs.begin() + static_cast<std::ptrdiff_t>(std::min(first, node.inputs.size())),
                             node.inputs.end(),
                             [&](const std::string& input) { return !input.empty() && !constants.contains(input); });
    if (by_data) found.insert(found.end(), node.outputs.begin(), node.outputs.end());
  }
  return found;
}

std::string absolute_path(const std::string& path) {
  std::error_code error;
  const auto absolute = std::filesystem::absolute(path, error);
  return error ? path : absolute.lexically_normal().string();
}

std::string without_end(std::string text) {
  text.erase(text.find_last_not_of(" \n") + 1);
  return text;
}

Status show_onnx(const InspectArguments& a, PolygraphyLog& log) {
  log.print(PolygraphyLog::info, "Loading model: " + absolute_path(a.model_path));
  const OnnxSummary model = PLANISH_TRY(summarise_onnx(a.model_path));
  const ModelStyle style = a.as_network ? ModelStyle::network : ModelStyle::onnx;
  // A network is what a build can start from, so an operator that cannot be built is an error here.
  if (a.as_network)
    if (auto built = api::Model::read(a.model_path); !built.ok()) return std::move(built).take_error();
  const std::string text = PLANISH_TRY(onnx_model_text(model, a.shown, style));
  log.print(PolygraphyLog::info,
            fmt::format("==== {} ====\n{}", a.as_network ? "TensorRT Network" : "ONNX Model", without_end(text)));
  if (a.list_unbounded_dds)
    log.print(PolygraphyLog::info, "Found tensors with unbounded DDS: " + python_list(unbounded_tensors(model.graph)));
  return {};
}

Status show_engine(const InspectArguments& a, PolygraphyLog& log) {
  log.print(PolygraphyLog::info, "Loading bytes from " + absolute_path(a.model_path));
  const api::Engine engine = PLANISH_TRY(api::Engine::load(a.model_path));
  for (const std::string& text : engine.warnings()) log.print(PolygraphyLog::warning, text);
  const std::string text = PLANISH_TRY(engine_text(engine, a.shown));
  log.print(PolygraphyLog::info, "==== TensorRT Engine ====\n" + without_end(text));
  return {};
}

Status show_model(const InspectArguments& a, PolygraphyLog& log) {
  if (!a.model_type.empty() && a.model_type != "onnx" && a.model_type != "engine")
    return Error{.code = Code::unsupported,
                 .file = a.model_path,
                 .what = fmt::format("models of type {} are not read here", a.model_type),
                 .fix = "give an ONNX model or an engine, or use the polygraphy Python package"};
  const api::FileKind kind = PLANISH_TRY(api::file_kind(a.model_path));
  const std::string extension = std::filesystem::path(a.model_path).extension().string();
  const bool is_engine = a.model_type.empty() ? kind == api::FileKind::engine : a.model_type == "engine";
  if (is_engine) return show_engine(a, log);
  if (a.model_type.empty() && extension != ".onnx" && !summarise_onnx(a.model_path).ok())
    return Error{
        .code = Code::unsupported,
        .what = fmt::format("Could not automatically determine model type for: {}\nPlease explicitly specify the type "
                            "with the --model-type option",
                            absolute_path(a.model_path))};
  return show_onnx(a, log);
}

int inspect_model(const std::vector<std::string>& arguments) {
  const auto parsed = parse_inspect_arguments(arguments);
  if (!parsed.ok()) {
    fmt::print(stderr, "usage: polygraphy inspect model [options] model_file\npolygraphy inspect model: error: {}\n",
               parsed.error().what);
    return kBadArguments;
  }
  if (parsed->help) {
    fmt::print("{}", inspect_model_help());
    return 0;
  }
  PolygraphyLog log;
  set_log_level(log, parsed->verbosity, parsed->named_verbosity, parsed->silent);
  log.timestamps = parsed->timestamps;
  if (!parsed->log_file.empty()) log.file.open(parsed->log_file);
  for (const std::string& option : parsed->without_effect)
    log.print(PolygraphyLog::warning,
              fmt::format("{} has no effect here: the model is shown as the file has it", option));
  const Status status = show_model(*parsed, log);
  if (!status.ok()) log.print(PolygraphyLog::critical, status.error().message());
  return status.ok() ? 0 : kFailed;
}

int inspect(const std::vector<std::string>& arguments) {
  constexpr std::string_view kProgram = "polygraphy inspect";
  const std::string tool = arguments.empty() ? "" : arguments[0];
  if (tool == "-h" || tool == "--help") {
    fmt::print("{}", help_text(kProgram, kInspectTools, "polygraphy inspect model resnet50.onnx --show layers"));
    return 0;
  }
  if (!has_tool(kInspectTools, tool)) return bad_tool(kProgram, "subtool", kInspectTools, tool);
  const std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
  if (tool == "model") return inspect_model(rest);
  if (tool == "data") return inspect_data_main(rest);
  if (tool == "capability") return inspect_capability_main(rest);
  return not_here("inspect " + tool);
}

int data(const std::vector<std::string>& arguments) {
  constexpr std::string_view kProgram = "polygraphy data";
  const std::string tool = arguments.empty() ? "" : arguments[0];
  if (tool == "-h" || tool == "--help") {
    fmt::print("{}", help_text(kProgram, kDataTools, "polygraphy data merge outputs.json -o inputs.json"));
    return 0;
  }
  if (!has_tool(kDataTools, tool)) return bad_tool(kProgram, "subtool", kDataTools, tool);
  const std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
  return tool == "concat" ? data_concat_main(rest) : data_merge_main(rest);
}

int debug(const std::vector<std::string>& arguments) {
  constexpr std::string_view kProgram = "polygraphy debug";
  const std::string tool = arguments.empty() ? "" : arguments[0];
  if (tool == "-h" || tool == "--help") {
    fmt::print("{}", help_text(kProgram, kDebugTools,
                               "polygraphy debug precision model.onnx --fp16 --check polygraphy run "
                               "polygraphy_debug.engine --trt --load-inputs i.json --load-outputs golden.json"));
    return 0;
  }
  if (!has_tool(kDebugTools, tool)) return bad_tool(kProgram, "subtool", kDebugTools, tool);
  if (tool == "precision") return debug_precision_main({arguments.begin() + 1, arguments.end()});
  return not_here("debug " + tool);
}

}  // namespace

int polygraphy_main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  const std::string tool = arguments.empty() ? "" : arguments[0];
  if (tool == "-h" || tool == "--help") {
    fmt::print("{}", help_text("polygraphy", kTools, "polygraphy inspect model resnet50.onnx --show layers attrs"));
    return 0;
  }
  if (tool == "-v" || tool == "--version") {
    fmt::print("Polygraphy | Version: {} | Path: ['planish {}']\n", kImitatedPolygraphy, api::version());
    return 0;
  }
  if (!has_tool(kTools, tool)) return bad_tool("polygraphy", "tools", kTools, tool);
  const std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
  if (tool == "inspect") return inspect(rest);
  if (tool == "run") return run_main(rest);
  if (tool == "convert") return convert_main(rest);
  if (tool == "data") return data(rest);
  if (tool == "debug") return debug(rest);
  return not_here(tool);
}

std::vector<std::string> polygraphy_words() {
  std::vector<std::string> words{"run",   "convert", "inspect",  "model", "data",     "capability",
                                 "merge", "concat",  "to-input", "debug", "precision"};
  std::set<std::string> known(words.begin(), words.end());
  const auto add = [&](std::vector<std::string> more) {
    for (std::string& word : more)
      if (known.insert(word).second) words.push_back(std::move(word));
  };
  add(inspect_option_words());
  add({"layers", "attrs", "weights"});
  for (const ToolSyntax* syntax : {&run_syntax(), &convert_syntax(), &inspect_data_syntax(),
                                   &inspect_capability_syntax(), &data_merge_syntax(), &debug_precision_syntax()})
    add(words_of(*syntax));
  return words;
}

}  // namespace planish::tools
