#include <fmt/format.h>

#include <array>
#include <filesystem>

#include "planish/tools/polygraphy/array_stats.h"
#include "planish/tools/polygraphy/compare.h"
#include "planish/tools/polygraphy/model_text.h"
#include "planish/tools/polygraphy/numpy_text.h"
#include "planish/tools/polygraphy/option_groups.h"
#include "planish/tools/polygraphy/saved_data.h"
#include "planish/tools/polygraphy/tool.h"

namespace planish::tools {
namespace {

constexpr std::array kOptions{
    OptionDecl{"-a,--all", Takes::nothing, "", "show all iterations instead of the first", ""},
    OptionDecl{"-s,--show-values", Takes::nothing, "", "show the values too", ""},
    OptionDecl{"--histogram", Takes::nothing, "", "show how the values are distributed", ""},
    OptionDecl{"-n,--num-items", Takes::one, "N", "values shown at both ends of an axis; -1 shows all (default 3)", ""},
    OptionDecl{"--line-width", Takes::one, "N", "columns per line; -1 breaks at the ends of axes only (default 75)",
               ""},
};

struct Shown {
  bool all = false;
  bool values = false;
  bool histogram = false;
  NumpyTextOptions print;
};

/// Every line of an array's text with `level` indentations more.
std::string deeper(const std::string& text, int level) { return level > 0 ? indented(text, level) : text; }

std::string iterations_text(const std::vector<const NamedTensors*>& iterations, const Shown& shown) {
  std::string out;
  for (size_t i = 0; i < iterations.size(); ++i) {
    const bool numbered = iterations.size() > 1 && shown.all;
    const int level = numbered ? 1 : 0;
    if (numbered) out += fmt::format("\n-- Iteration: {}", i);
    for (const auto& [name, tensor] : *iterations[i]) {
      const Values values = widened(tensor);
      out += deeper(fmt::format("\n{} [dtype={}, shape={}] | Stats: {}", name, dtype_numpy_name(tensor.dtype()),
                                python_tuple(tensor.shape()), stats_text(values)),
                    level);
      if (shown.histogram)
        if (const std::string text = histogram_text(values); !text.empty()) out += '\n' + deeper(text, level + 1);
      if (shown.values) out += '\n' + deeper(numpy_text(tensor, shown.print), level + 1);
    }
    if (numbered) out += '\n';
    if (!shown.all) break;
  }
  return out;
}

std::string trimmed(std::string text) {
  text.erase(text.find_last_not_of(" \n") + 1);
  return text;
}

std::string results_text(const SavedRunResults& results, const Shown& shown) {
  std::string out = fmt::format("==== Run Results ({} runners) ====\n\n", results.size());
  size_t width = 0;
  for (const auto& [runner, iterations] : results) width = std::max(width, runner.size());
  for (const auto& [runner, iterations] : results) {
    std::vector<const NamedTensors*> outputs;
    for (const SavedIteration& iteration : iterations) outputs.push_back(&iteration.outputs);
    out += fmt::format("---- {:<{}} ({} iterations) ----\n{}\n", runner, width, iterations.size(),
                       iterations_text(outputs, shown));
  }
  return trimmed(out);
}

std::string inputs_text(const std::vector<NamedTensors>& inputs, const Shown& shown) {
  std::vector<const NamedTensors*> feeds;
  for (const NamedTensors& feed : inputs) feeds.push_back(&feed);
  return trimmed(fmt::format("==== Data ({} iterations) ====\n{}\n", inputs.size(), iterations_text(feeds, shown)));
}

Result<bool> inspect_data(const ParsedOptions& options, PolygraphyLog& log) {
  Shown shown{
      .all = options.has("-a"), .values = options.has("-s"), .histogram = options.has("--histogram"), .print = {}};
  const int64_t items = PLANISH_TRY(options.integer("-n", 3, -1, INT32_MAX));
  const int64_t width = PLANISH_TRY(options.integer("--line-width", 75, -1, INT32_MAX));
  shown.print.edge_items = items < 0 ? INT64_MAX / 4 : items;
  shown.print.line_width = width < 0 ? SIZE_MAX / 2 : static_cast<size_t>(width);
  const std::string& path = options.positionals[0];
  std::error_code ignored;
  const bool folder = std::filesystem::is_directory(path, ignored);
  const std::string first = folder ? PLANISH_TRY(iteration_files(path))[0] : path;
  if (const auto accuracy = PLANISH_TRY(accuracy_results_text(first, shown.all))) {
    log.print(PolygraphyLog::info, *accuracy);
    return true;
  }
  if (PLANISH_TRY(holds_polygraphy_results(first))) {
    PolygraphyLog quiet;
    PolygraphyLog& loading = folder ? log : quiet;
    quiet.threshold = PolygraphyLog::critical;
    log.print(PolygraphyLog::info, results_text(PLANISH_TRY(load_results(path, loading)), shown));
    return true;
  }
  std::vector<NamedTensors> inputs;
  for (const std::string& file : folder ? PLANISH_TRY(iteration_files(path)) : std::vector<std::string>{path})
    for (NamedTensors& feed : PLANISH_TRY(read_polygraphy_inputs(file))) inputs.push_back(std::move(feed));
  log.print(PolygraphyLog::info, inputs_text(inputs, shown));
  return true;
}

}  // namespace

const ToolSyntax& inspect_data_syntax() {
  static const ToolSyntax kSyntax{
      "polygraphy inspect data",
      "path",
      1,
      1,
      {logging_options(), {"options", kOptions}},
      "Shows inputs and outputs that polygraphy run saved: names, types, shapes, statistics, "
      "and on request values and histograms.",
      "  polygraphy run model.onnx --trt --save-outputs outputs.json\n"
      "  polygraphy inspect data outputs.json --show-values --histogram"};
  return kSyntax;
}

int inspect_data_main(const std::vector<std::string>& arguments) {
  return run_tool(inspect_data_syntax(), arguments, false, inspect_data);
}

}  // namespace planish::tools
