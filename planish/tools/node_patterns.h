#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace planish::tools {

/// The nodes that an option given several times names: "a,b" and "c" are a, b and c.
std::vector<std::string> node_patterns(const std::vector<std::string>& lists);

/// A warning for each of `patterns` (names, one '*' allowed) that none of `names` matches, with the nearest name.
std::vector<std::string> unmatched_pattern_warnings(std::string_view option, const std::vector<std::string>& patterns,
                                                    const std::vector<std::string>& names);

}  // namespace planish::tools
