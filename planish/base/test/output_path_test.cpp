#include "planish/base/output_path.h"

#include <gtest/gtest.h>

#include <fstream>

#include "planish/base/temporary_folder.h"

namespace planish {
namespace {

TEST(OutputPath, SaysBeforehandWhereNoFileCanBeWritten) {
  std::filesystem::path made;
  {
    const TemporaryFolder folder;
    made = folder.path();
    ASSERT_TRUE(std::filesystem::is_directory(made));
    EXPECT_TRUE(check_output_path(made / "new.engine").ok());
    std::ofstream(made / "old.engine") << "x";
    EXPECT_TRUE(check_output_path(made / "old.engine").ok());
    EXPECT_TRUE(check_output_path("in_this_folder.engine").ok());
    EXPECT_EQ(check_output_path(made).error().code, Code::io);
    EXPECT_EQ(check_output_path(made / "absent" / "new.engine").error().code, Code::not_found);
    EXPECT_EQ(check_output_path(made / "old.engine" / "new.engine").error().code, Code::not_found);
  }
  EXPECT_FALSE(std::filesystem::exists(made)) << "the temporary folder stayed";
}

}  // namespace
}  // namespace planish
