#pragma once

#include <map>
#include <string>

#include "planish/tools/trtexec/flags.h"
#include "planish/tools/trtexec/parse.h"

namespace planish::tools {

/// Applies what options imply for each other and reports contradictions into `line`. `given` maps each flag that was
/// used to its value.
void apply_option_rules(ParsedCommandLine& line, const ParseState& state,
                        const std::map<std::string, std::string>& given);

}  // namespace planish::tools
