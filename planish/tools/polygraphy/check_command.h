#pragma once

#include <string>
#include <vector>

#include "planish/base/status.h"
#include "planish/tools/polygraphy/logger.h"
#include "planish/tools/polygraphy/options.h"

namespace planish::tools {

/// How a command ended.
struct CommandOutcome {
  int code = 0;  ///< exit code; -N after signal N
  std::string out;
  std::string err;
};
/// Runs a program found on PATH with its output caught. Error: it cannot be started.
Result<CommandOutcome> run_command_line(const std::vector<std::string>& arguments);

/// --check and the options that say what counts as a failure. True when the check passes. Errors: the command cannot
/// be started, a --fail-regex that is no regular expression.
Result<bool> run_check(const ParsedOptions& options, PolygraphyLog& log);

/// Moves what --artifacts names into good/ or bad/ below --artifacts-dir, each with a suffix of its own.
void sort_artifacts(const ParsedOptions& options, bool success, const std::string& suffix, PolygraphyLog& log);

/// Options that debug tools share.
OptionGroup check_options();

}  // namespace planish::tools
