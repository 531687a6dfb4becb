#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "planish/base/status.h"
#include "planish/tools/polygraphy/logger.h"
#include "planish/tools/polygraphy/options.h"

namespace planish::tools {

constexpr int kPolygraphyFailed = 1;
constexpr int kPolygraphyBadArguments = 2;

/// What a tool does with its arguments: true when it passed. An error is printed as "[!] ..." and fails.
using ToolBody = std::function<Result<bool>(const ParsedOptions&, PolygraphyLog&)>;

/// Reads the arguments, sets up the log, runs the body and gives the exit code. `framed` tools say "RUNNING | Command"
/// and "PASSED | Runtime" as polygraphy's long ones do; `command` is what follows there.
int run_tool(const ToolSyntax& syntax, const std::vector<std::string>& arguments, bool framed, const ToolBody& body);

/// Level of -v (positive), -q (negative), --verbosity or --silent.
void set_log_level(PolygraphyLog& log, int verbosity, const std::string& named, bool silent);

/// Log settings of --verbosity, -v, -q, --silent, --log-format, --log-file.
void set_up_log(const ParsedOptions& options, PolygraphyLog& log);

/// Sorts the options that need another program from those that planish can serve: an error for the first.
Status refuse(const ParsedOptions& options, const std::vector<std::string>& names, const std::string& what,
              const std::string& fix);

/// An error whose text is shown as it is, in polygraphy's own words.
Error plain_error(std::string text, std::string fix = "");

enum class PolygraphyModel : uint8_t { none, onnx, engine };
/// What a model file is, by --model-type, its extension or its first bytes. Errors: not_found, unsupported types.
Result<PolygraphyModel> polygraphy_model(const std::string& path, const std::string& model_type);

/// Parses "name:[1,3,224,224]" (also name,1x3x224x224 and name:1x3x224x224) into name and dimensions; -1 stays.
Result<std::vector<std::pair<std::string, std::vector<int64_t>>>> parse_shape_options(
    const std::vector<std::string>& values, std::string_view option);

/// Tools; each takes what follows its name.
int run_main(const std::vector<std::string>& arguments);
int convert_main(const std::vector<std::string>& arguments);
int inspect_data_main(const std::vector<std::string>& arguments);
int inspect_capability_main(const std::vector<std::string>& arguments);
int data_merge_main(const std::vector<std::string>& arguments);
int data_concat_main(const std::vector<std::string>& arguments);
int debug_precision_main(const std::vector<std::string>& arguments);

const ToolSyntax& run_syntax();
const ToolSyntax& convert_syntax();
const ToolSyntax& inspect_data_syntax();
const ToolSyntax& inspect_capability_syntax();
const ToolSyntax& data_merge_syntax();
const ToolSyntax& data_concat_syntax();
const ToolSyntax& debug_precision_syntax();

}  // namespace planish::tools
