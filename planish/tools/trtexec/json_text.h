#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "planish/base/status.h"

namespace planish::tools {

/// Rounds a time in ms to whole nanoseconds, so that JSON shows 0.123457 and no rounding noise.
double to_nanoseconds(double value_ms);

/// `[` and one object per line `]`: compact, yet readable by line.
std::string json_array_of_lines(const std::vector<std::string>& objects);

/// Indents compact JSON by two spaces; arrays that hold only numbers and strings stay on one line.
std::string indent_json(std::string_view compact);

/// Text as a JSON string with its quotes; invalid UTF-8 becomes U+FFFD.
std::string json_string(std::string_view text);

}  // namespace planish::tools
