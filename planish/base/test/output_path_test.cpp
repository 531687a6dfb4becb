#include "planish/base/output_path.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <fstream>

#include "planish/base/atomic_file.h"
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

TEST(OutputPath, RefusesWhatIsReadAndWhatNobodyMayWrite) {
  const TemporaryFolder folder;
  const std::filesystem::path model = folder.path() / "model.onnx";
  std::ofstream(model) << "x";
  std::filesystem::create_symlink("model.onnx", folder.path() / "link.onnx");
  std::filesystem::create_hard_link(model, folder.path() / "twin.onnx");
  const std::array<std::string, 2> inputs{"absent.onnx", model.string()};
  for (const char* name : {"model.onnx", "link.onnx", "twin.onnx", "./model.onnx"}) {
    const std::filesystem::path path = folder.path() / name;
    EXPECT_TRUE(check_output_path(path).ok()) << name;
    const Status status = check_output_path(path, inputs);
    ASSERT_FALSE(status.ok()) << name;
    EXPECT_EQ(status.error().code, Code::invalid_argument);
  }
  EXPECT_TRUE(check_output_path(folder.path() / "other.onnx", inputs).ok());
  using std::filesystem::perms;
  std::filesystem::permissions(model, perms::owner_read | perms::group_read);
  const Status status = check_output_path(model);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().what, "is write-protected");
  EXPECT_TRUE(check_output_folder(folder.path()).ok());
  EXPECT_TRUE(check_output_folder(folder.path() / "new").ok());
  EXPECT_FALSE(check_output_folder(model).ok());
}

std::string content(const std::filesystem::path& path) { return read_file(path).take_value(); }

TEST(OutputPath, LinksStayLinksAndTheirTargetIsWritten) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder.path() / "deep");
  std::filesystem::create_symlink("deep/target", folder.path() / "link");
  std::filesystem::create_symlink("link", folder.path() / "link_to_link");
  ASSERT_TRUE(check_output_path(folder.path() / "link_to_link").ok());
  ASSERT_TRUE(write_file_atomically(folder.path() / "link_to_link", "text").ok());
  EXPECT_TRUE(std::filesystem::is_symlink(folder.path() / "link_to_link"));
  EXPECT_TRUE(std::filesystem::is_symlink(folder.path() / "link"));
  EXPECT_EQ(content(folder.path() / "deep" / "target"), "text");
  std::filesystem::create_symlink("absent/target", folder.path() / "broken");
  EXPECT_EQ(check_output_path(folder.path() / "broken").error().code, Code::not_found);
  std::filesystem::create_symlink("loop", folder.path() / "loop");
  EXPECT_FALSE(write_file_atomically(folder.path() / "loop" / "x", "text").ok());
}

TEST(OutputPath, PermissionsOfAnOldFileStay) {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "private";
  ASSERT_TRUE(write_file_atomically(file, "old").ok());
  std::filesystem::permissions(file, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  ASSERT_TRUE(write_file_atomically(file, "new").ok());
  EXPECT_EQ(content(file), "new");
  EXPECT_EQ(std::filesystem::status(file).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST(OutputPath, PipesAndDevicesAreWrittenAndNotReplaced) {
  const TemporaryFolder folder;
  const std::filesystem::path pipe = folder.path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  ASSERT_TRUE(check_output_path(pipe).ok());
  const int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK);  // waits for nobody
  ASSERT_GE(reader, 0);
  ASSERT_TRUE(write_file_atomically(pipe, "through").ok());
  std::array<char, 16> text{};
  EXPECT_EQ(::read(reader, text.data(), text.size()), 7);
  ::close(reader);
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));
  std::filesystem::create_symlink("/dev/full", folder.path() / "full");  // not named itself: a fault would replace it
  const Status status = write_file_atomically(folder.path() / "full", "text");
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().what.find("No space left"), std::string::npos) << status.error().message();
  EXPECT_TRUE(std::filesystem::is_symlink(folder.path() / "full"));
}

}  // namespace
}  // namespace planish
