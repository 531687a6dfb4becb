#pragma once

#include <string>

namespace planish::tools {

/// Compares `actual` with planish/tools/test/golden/<name>. A difference fails the test, shows the first differing
/// lines and says how to regenerate: run the test program with PLANISH_UPDATE_GOLDEN=1, then read the diff in git.
void expect_golden(const std::string& name, const std::string& actual);

/// Whole text of a file; empty when it cannot be read.
std::string read_file(const std::string& path);

}  // namespace planish::tools
