#include "planish/tools/node_patterns.h"

#include <gtest/gtest.h>

namespace planish::tools {
namespace {

TEST(NodePatterns, NamesEachThatMatchesNothing) {
  const std::vector<std::string> nodes{"fire2/conv1", "fire2/conv2", "head"};
  const auto patterns = node_patterns({"fire2/*,nosuch", "haed", "head"});
  EXPECT_EQ(patterns, (std::vector<std::string>{"fire2/*", "nosuch", "haed", "head"}));
  const auto warnings = unmatched_pattern_warnings("--keep-float", patterns, nodes);
  ASSERT_EQ(warnings.size(), 2u);
  EXPECT_NE(warnings[0].find("'nosuch'"), std::string::npos) << warnings[0];
  EXPECT_EQ(warnings[1], "--keep-float: no node of the model is called 'haed'; did you mean 'head'?");
  EXPECT_TRUE(unmatched_pattern_warnings("--keep-float", {"*", "fire*2"}, nodes).empty());
}

}  // namespace
}  // namespace planish::tools
