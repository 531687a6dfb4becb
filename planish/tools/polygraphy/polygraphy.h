#pragma once

#include <string>
#include <vector>

namespace planish::tools {

/// `polygraphy ...`: run, convert, inspect model|data|capability, data merge|concat|to-input, debug precision; the
/// other tools are answered with where to get them. Exit codes: 0, 1 for a failure, 2 for arguments that cannot be
/// meant.
int polygraphy_main(int argc, char** argv);
std::vector<std::string> polygraphy_words();

}  // namespace planish::tools
