#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "planish/base/temporary_folder.h"
#include "planish/tools/calibration/folder.h"

namespace planish::tools {
namespace {

TEST(CalibrationFolder, EveryFolderCountsOnceWhereLinksLeadBack) {
  const TemporaryFolder made;
  const std::filesystem::path folder = made.path() / "data";
  std::filesystem::create_directories(folder / "cats");
  for (const char* name : {"a.jpg", "cats/b.png", "cats/c.npy", "cats/.hidden.jpg"})
    std::ofstream(folder / name) << "x";
  std::filesystem::create_directory_symlink(".", folder / "loop");
  std::filesystem::create_directory_symlink("../cats", folder / "cats" / "again");
  std::filesystem::create_directory(made.path() / "elsewhere");
  std::ofstream(made.path() / "elsewhere" / "d.jpg") << "x";
  std::filesystem::create_directory_symlink("../elsewhere", folder / "linked");
  const auto content = list_calibration_folder(folder.string());
  ASSERT_TRUE(content.ok()) << content.error().message();
  EXPECT_EQ(content->pictures.size(), 3U);
  EXPECT_EQ(content->arrays.size(), 1U);
}

}  // namespace
}  // namespace planish::tools
