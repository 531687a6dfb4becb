#pragma once

#include <string>
#include <vector>

namespace planish::api {

/// "a, b, c, d, e and 3 more", for messages.
std::string first_names(const std::vector<std::string>& names);

}  // namespace planish::api
