#include "planish/tools/script_loader.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace planish::tools {
namespace {

namespace fs = std::filesystem;

void expect_has(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

class ScriptLoaderTest : public testing::Test {
 protected:
  void SetUp() override {
    static const bool has_numpy = std::system("python3 -c 'import numpy' 2>/dev/null") == 0;
    if (!has_numpy) GTEST_SKIP() << "python3 has no numpy";
    folder_ = fs::path(testing::TempDir()) / testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::create_directories(folder_);
  }
  void TearDown() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  [[nodiscard]] std::string script(const std::string& text) const {
    std::string path = (folder_ / "loader.py").string();
    std::ofstream(path) << text;
    return path;
  }
  [[nodiscard]] Result<std::unique_ptr<ScriptLoader>> open(const std::string& text, double timeout_s = 20) const {
    return ScriptLoader::open({.script = script(text), .item_timeout_s = timeout_s});
  }
  [[nodiscard]] std::string open_error(const std::string& text, double timeout_s = 20) const {
    const auto loader = open(text, timeout_s);
    return loader.ok() ? "" : loader.error().message();
  }

  fs::path folder_;
};

TEST_F(ScriptLoaderTest, GivesArraysInOrderAndStartsAgain) {
  auto loader = open(R"(
import numpy as np
print("this must not disturb the frames")
def load_data():
    for i in range(3):
        yield {"x": np.full((1, 2), i, np.float32), "ids": np.arange(i + 1)}
)");
  ASSERT_TRUE(loader.ok()) << loader.error().message();
  for (int round = 0; round < 2; ++round) {
    for (int64_t i = 0; i < 3; ++i) {
      auto item = (*loader)->next();
      ASSERT_TRUE(item.ok()) << item.error().message();
      ASSERT_TRUE(item->has_value());
      const NamedTensors& arrays = **item;
      ASSERT_EQ(arrays.size(), 2U);
      EXPECT_EQ(arrays[0].first, "x");
      EXPECT_EQ(arrays[0].second.shape(), (Shape{1, 2}));
      EXPECT_EQ(arrays[0].second.at(1), static_cast<double>(i));
      EXPECT_EQ(arrays[1].second.dtype(), DType::i64);
      EXPECT_EQ(arrays[1].second.size(), i + 1);
    }
    const auto end = (*loader)->next();
    ASSERT_TRUE(end.ok());
    EXPECT_FALSE(end->has_value());
    EXPECT_EQ((*loader)->items(), 3);
    ASSERT_TRUE((*loader)->rewind().ok());
  }
}

TEST_F(ScriptLoaderTest, TakesAnotherFunctionAListAndANeighbouringModule) {
  std::ofstream(folder_ / "neighbour.py") << "import numpy as np\nvalue = np.float64(7)\n";
  const std::string path = script("import neighbour\ndef batches():\n    return [{'x': [neighbour.value]}] * 2\n");
  auto loader = ScriptLoader::open({.script = path + ":batches"});
  ASSERT_TRUE(loader.ok()) << loader.error().message();
  const auto item = (*loader)->next();
  ASSERT_TRUE(item.ok()) << item.error().message();
  EXPECT_EQ((**item)[0].second.at(0), 7.0);
}

TEST_F(ScriptLoaderTest, ShowsTheScriptsOwnTraceback) {
  auto loader = open(R"(
import numpy as np
def load_data():
    yield {"x": np.zeros(1)}
    raise ValueError("the disk is on fire")
)");
  ASSERT_TRUE(loader.ok());
  ASSERT_TRUE((*loader)->next().ok());
  const auto failed = (*loader)->next();
  ASSERT_FALSE(failed.ok());
  EXPECT_TRUE((*loader)->fatal());
  const std::string text = failed.error().message();
  expect_has(text, "load_data() raised after 1 batches");
  expect_has(text, "Traceback (most recent call last)");
  expect_has(text, "loader.py\", line 5, in load_data");
  expect_has(text, "ValueError: the disk is on fire");
  expect_has(text, "Fix: correct the script");
  EXPECT_EQ(text.find("File \"<string>\""), std::string::npos) << text;
}

TEST_F(ScriptLoaderTest, NamesWhatIsWrongWithAScript) {
  expect_has(ScriptLoader::open({.script = "/nowhere/loader.py"}).error().message(), "does not exist");
  expect_has(open_error("def load():\n    pass\n"), "no function load_data()");
  expect_has(open_error("def load():\n    pass\n"), "it has load");
  expect_has(open_error("def load_data(:\n"), "SyntaxError");
  expect_has(open_error("import sys\nsys.exit(3)\n"), "sys.exit(3)");
  expect_has(open_error("import not_installed_anywhere\n"), "ModuleNotFoundError");
  expect_has(open_error("def load_data():\n    return None\n"), "returned NoneType");
  expect_has(open_error("import os\nos.kill(os.getpid(), 11)\n"), "signal 11");
  expect_has(open_error("import time\ntime.sleep(60)\n", 0.5), "nothing for 0.5 seconds");
}

TEST_F(ScriptLoaderTest, SkipsItemsThatAreNoArrays) {
  auto loader = open(R"(
import numpy as np
def load_data():
    yield np.zeros(1)
    yield {"x": "text"}
    yield {"x": np.ones(1)}
)");
  ASSERT_TRUE(loader.ok());
  const auto first = (*loader)->next();
  ASSERT_FALSE(first.ok());
  expect_has(first.error().message(), "batch 1 is a ndarray");
  EXPECT_FALSE((*loader)->fatal());
  const auto second = (*loader)->next();
  ASSERT_FALSE(second.ok());
  expect_has(second.error().message(), "batch 2 'x'");
  const auto third = (*loader)->next();
  ASSERT_TRUE(third.ok());
  EXPECT_EQ((**third)[0].second.at(0), 1.0);
}

TEST_F(ScriptLoaderTest, TellsAMissingInterpreter) {
  const auto loader =
      ScriptLoader::open({.script = script("def load_data():\n    return []\n"), .python = "no-such-python-9"});
  ASSERT_FALSE(loader.ok());
  expect_has(loader.error().message(), "no-such-python-9");
}

TEST(SplitScript, CutsAtTheLastColonBeforeAName) {
  EXPECT_EQ(split_script("a.py", "f"), (std::pair<std::string, std::string>{"a.py", "f"}));
  EXPECT_EQ(split_script("a.py:g", "f"), (std::pair<std::string, std::string>{"a.py", "g"}));
  EXPECT_EQ(split_script("c:/a.py", "f"), (std::pair<std::string, std::string>{"c:/a.py", "f"}));
}

}  // namespace
}  // namespace planish::tools
