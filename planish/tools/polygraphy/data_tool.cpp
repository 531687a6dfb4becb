#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "planish/tools/polygraphy/numpy_text.h"
#include "planish/tools/polygraphy/option_groups.h"
#include "planish/tools/polygraphy/saved_data.h"
#include "planish/tools/polygraphy/tool.h"

namespace planish::tools {
namespace {

constexpr std::array kOptions{OptionDecl{"-o,--output", Takes::one, "FILE", "the file to write (required)", ""}};

/// Inputs, or the outputs of all runners merged, of one file or folder.
Result<std::vector<std::vector<NamedTensors>>> feeds_of(const std::string& path) {
  std::error_code ignored;
  std::vector<std::string> files{path};
  if (std::filesystem::is_directory(path, ignored)) files = PLANISH_TRY(iteration_files(path));
  std::vector<std::vector<NamedTensors>> sources;
  for (const std::string& file : files) {
    std::vector<std::vector<NamedTensors>> here;
    if (PLANISH_TRY(holds_polygraphy_results(file))) {
      for (auto& [runner, iterations] : PLANISH_TRY(read_polygraphy_results(file))) {
        here.emplace_back();
        for (SavedIteration& iteration : iterations) here.back().push_back(std::move(iteration.outputs));
      }
    } else {
      here.push_back(PLANISH_TRY(read_polygraphy_inputs(file)));
    }
    // A folder's files follow each other; the runners of a file lie side by side.
    if (sources.size() < here.size()) sources.resize(here.size());
    for (size_t i = 0; i < here.size(); ++i)
      for (NamedTensors& feed : here[i]) sources[i].push_back(std::move(feed));
  }
  return sources;
}

void merge_into(NamedTensors& feed, NamedTensors&& added, const std::string& path, PolygraphyLog& log) {
  for (auto& [name, tensor] : added) {
    const auto it = std::find_if(feed.begin(), feed.end(), [&name = name](const auto& t) { return t.first == name; });
    if (it == feed.end()) {
      feed.emplace_back(name, std::move(tensor));
      continue;
    }
    log.print_once(PolygraphyLog::warning,
                   fmt::format("Overwriting input '{}' while merging data from {}. If you intended to concatenate "
                               "iterations, consider using `data concat` instead.",
                               name, path));
    it->second = std::move(tensor);
  }
}

Result<std::string> output_path(const ParsedOptions& options) {
  if (options.has("-o")) return options.text("-o");
  return plain_error("the following arguments are required: -o/--output", "add -o inputs.json");
}

Status save(const std::vector<NamedTensors>& inputs, const std::string& path, PolygraphyLog& log) {
  log.print(PolygraphyLog::info,
            fmt::format("Saving input file containing {} iteration(s) to {}", inputs.size(), path));
  return write_polygraphy_inputs(path, inputs);
}

Result<bool> merge(const ParsedOptions& options, PolygraphyLog& log) {
  const std::string output = PLANISH_TRY(output_path(options));
  std::vector<NamedTensors> inputs;
  for (const std::string& path : options.positionals)
    for (std::vector<NamedTensors>& feeds : PLANISH_TRY(feeds_of(path))) {
      if (!inputs.empty() && inputs.size() != feeds.size())
        log.print(
            PolygraphyLog::warning,
            fmt::format("The provided files have different numbers of iterations.\nNote: Inputs currently contains "
                        "{} iterations, but the data in {} contains {} iterations. Some iterations will contain "
                        "incomplete data. ",
                        inputs.size(), path, feeds.size()));
      if (inputs.size() < feeds.size()) inputs.resize(feeds.size());
      for (size_t i = 0; i < feeds.size(); ++i) merge_into(inputs[i], std::move(feeds[i]), path, log);
    }
  PLANISH_TRY(save(inputs, output, log));
  return true;
}

Result<bool> concat(const ParsedOptions& options, PolygraphyLog& log) {
  const std::string output = PLANISH_TRY(output_path(options));
  std::vector<NamedTensors> inputs;
  for (const std::string& path : options.positionals) {
    std::vector<NamedTensors> here;
    for (std::vector<NamedTensors>& feeds : PLANISH_TRY(feeds_of(path))) {
      if (here.size() < feeds.size()) here.resize(feeds.size());
      for (size_t i = 0; i < feeds.size(); ++i) merge_into(here[i], std::move(feeds[i]), path, log);
    }
    for (size_t i = 0; i < here.size(); ++i) {
      std::vector<std::string> names, expected;
      for (const auto& [name, tensor] : here[i]) names.push_back(name);
      if (!inputs.empty())
        for (const auto& [name, tensor] : inputs[0]) expected.push_back(name);
      if (!inputs.empty() && names != expected)
        log.print(PolygraphyLog::warning,
                  fmt::format("Iteration {} from {} contains different tensor names than earlier iterations.\nNote: "
                              "Expected names: {}, but got: {}.",
                              i, path, python_list(expected), python_list(names)));
      inputs.push_back(std::move(here[i]));
    }
  }
  PLANISH_TRY(save(inputs, output, log));
  return true;
}

ToolSyntax data_syntax(std::string_view program, std::string_view summary, std::string_view example) {
  return {program, "paths", 1, SIZE_MAX, {logging_options(), {"options", kOptions}}, summary, example};
}

}  // namespace

const ToolSyntax& data_merge_syntax() {
  static const ToolSyntax kSyntax =
      data_syntax("polygraphy data merge",
                  "Combines the tensors of saved inputs and outputs, iteration by iteration, into one file for "
                  "--load-inputs. (data to-input is its older name.)",
                  "  polygraphy run backbone.onnx --trt --save-outputs features.json\n"
                  "  polygraphy data merge features.json -o head_inputs.json\n"
                  "  polygraphy run head.onnx --trt --onnxrt --load-inputs head_inputs.json");
  return kSyntax;
}

const ToolSyntax& data_concat_syntax() {
  static const ToolSyntax kSyntax = data_syntax(
      "polygraphy data concat", "Puts the iterations of saved inputs or outputs behind each other in one file.",
      "  polygraphy data concat day1.json day2.json -o both.json");
  return kSyntax;
}

int data_merge_main(const std::vector<std::string>& arguments) {
  return run_tool(data_merge_syntax(), arguments, false, merge);
}

int data_concat_main(const std::vector<std::string>& arguments) {
  return run_tool(data_concat_syntax(), arguments, false, concat);
}

}  // namespace planish::tools
