#include "planish/tools/test/golden.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <vector>

namespace planish::tools {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string difference(const std::string& expected, const std::string& actual) {
  constexpr size_t kShown = 12;
  const auto want = lines_of(expected);
  const auto have = lines_of(actual);
  std::ostringstream out;
  size_t shown = 0;
  for (size_t i = 0; i < std::max(want.size(), have.size()) && shown < kShown; ++i) {
    const std::string a = i < want.size() ? want[i] : "<end of golden file>";
    const std::string b = i < have.size() ? have[i] : "<end of output>";
    if (a == b) continue;
    out << "line " << i + 1 << "\n  - " << a << "\n  + " << b << "\n";
    ++shown;
  }
  return out.str();
}

}  // namespace

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void expect_golden(const std::string& name, const std::string& actual) {
  const std::string path = "planish/tools/test/golden/" + name;
  if (std::getenv("PLANISH_UPDATE_GOLDEN") != nullptr) {
    std::ofstream(path, std::ios::binary) << actual;
    return;
  }
  const std::string expected = read_file(path);
  if (expected == actual) return;
  ADD_FAILURE()
      << path << " differs:\n"
      << difference(expected, actual)
      << "If the new text is right: PLANISH_UPDATE_GOLDEN=1 <build>/test_tools, run from the repository root, "
         "then read `git diff`.";
}

}  // namespace planish::tools
