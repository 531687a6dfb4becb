#pragma once

#include <optional>
#include <string>
#include <vector>

#include "planish/base/status.h"
#include "planish/tools/trtexec/options.h"

namespace planish::tools {

/// What a command line came to. `unknown` or `error` set: do not run.
struct ParsedCommandLine {
  Options options;
  std::vector<std::string> notes;
  std::vector<std::string> warnings;
  std::vector<std::string> unknown;  ///< one line per leftover, "Unknown option: --onxn m.onnx (did you mean --onnx?)"
  std::vector<Error> errors;
};

/// Reads the arguments after the program's name. `--flag=value`; `--flag value` where the flag needs a value.
/// Missing shape sets are filled, implied options switched on and contradictions reported.
ParsedCommandLine parse_command_line(const std::vector<std::string>& arguments);

/// Fills min, opt and max of a profile from each other (opt first, then max, then min), one warning per tensor, and
/// checks min <= opt <= max.
Status complete_profile(ProfileShapes& profile, std::vector<std::string>& warnings);

}  // namespace planish::tools
