#include "planish/tactics/tactic_source.h"

namespace planish {

std::string_view tactic_source(std::string_view id) {
  const size_t dot = id.find('.');
  const std::string_view rest = dot == std::string_view::npos ? id : id.substr(dot + 1);
  if (rest.starts_with("onednn")) return "onednn";
  return rest.starts_with("reference") ? "reference" : "planish";
}

bool is_tactic_source(std::string_view name) { return name == "onednn" || name == "reference" || name == "planish"; }

bool tactic_matches(std::string_view id, std::string_view pattern) {
  return !pattern.empty() && (tactic_source(id) == pattern || id.starts_with(pattern));
}

}  // namespace planish
