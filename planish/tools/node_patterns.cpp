#include "planish/tools/node_patterns.h"

#include <fmt/format.h>

#include <algorithm>

#include "planish/tools/trtexec/text.h"

namespace planish::tools {

std::vector<std::string> node_patterns(const std::vector<std::string>& lists) {
  std::vector<std::string> patterns;
  for (const std::string& list : lists)
    for (std::string& node : split_list(list, ',')) patterns.push_back(std::move(node));
  return patterns;
}

std::vector<std::string> unmatched_pattern_warnings(std::string_view option, const std::vector<std::string>& patterns,
                                                    const std::vector<std::string>& names) {
  std::vector<std::string> warnings;
  for (const std::string& pattern : patterns) {
    const auto matches = [&](const std::string& name) { return name == pattern || wildcard_matches(pattern, name); };
    if (std::any_of(names.begin(), names.end(), matches)) continue;
    const std::string near = nearest_word(pattern, names);
    warnings.push_back(fmt::format("{}: no node of the model is called '{}'{}", option, pattern,
                                   near.empty()
                                       ? std::string("; polygraphy inspect model --show layers lists the names")
                                       : fmt::format("; did you mean '{}'?", near)));
  }
  return warnings;
}

}  // namespace planish::tools
