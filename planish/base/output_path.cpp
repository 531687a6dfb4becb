#include "planish/base/output_path.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace planish {

std::filesystem::path follow_links(const std::filesystem::path& path) {
  constexpr int kMostLinks = 40;  // as many as the kernel follows
  std::error_code error;
  std::filesystem::path target = path;
  for (int i = 0; i < kMostLinks && std::filesystem::is_symlink(target, error); ++i) {
    const std::filesystem::path next = std::filesystem::read_symlink(target, error);
    if (error) break;
    target = next.is_absolute() ? next : target.parent_path() / next;
  }
  return target;
}

bool is_special_file(const std::filesystem::path& path) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  return std::filesystem::exists(status) && !std::filesystem::is_regular_file(status) &&
         !std::filesystem::is_directory(status);
}

Status check_output_path(const std::filesystem::path& path, std::span<const std::string> inputs) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    return Error{.code = Code::io, .file = path.string(), .what = "is a folder", .fix = "name the file to write"};
  if (is_special_file(path)) {
    if (::access(path.c_str(), W_OK) == 0) return {};
    return Error{.code = Code::io,
                 .file = path.string(),
                 .what = fmt::format("cannot be written: {}", std::strerror(errno)),
                 .fix = "check its permissions, or name another file"};
  }
  for (const std::string& input : inputs)
    if (std::filesystem::equivalent(path, input, ignored))
      return Error{.code = Code::invalid_argument,
                   .file = path.string(),
                   .what = fmt::format("would be written over what is read ('{}')", input),
                   .fix = "name another file"};
  // A file that is replaced needs no permission, and neither does root; its owner has said what he wants.
  struct stat file {};
  if (::stat(path.c_str(), &file) == 0 && (file.st_mode & (S_IWUSR | S_IWGRP | S_IWOTH)) == 0)
    return Error{.code = Code::io,
                 .file = path.string(),
                 .what = "is write-protected",
                 .fix = fmt::format("allow it (chmod u+w '{}'), or name another file", path.string())};
  const std::filesystem::path folder = follow_links(path).parent_path();
  const std::filesystem::path parent = folder.empty() ? "." : folder;
  if (!std::filesystem::is_directory(parent, ignored))
    return Error{.code = Code::not_found,
                 .file = path.string(),
                 .what = fmt::format("there is no folder '{}' to write it to", parent.string()),
                 .fix = fmt::format("make it (mkdir -p '{}'), or name another file", parent.string())};
  if (::access(parent.c_str(), W_OK | X_OK) != 0)
    return Error{.code = Code::io,
                 .file = path.string(),
                 .what = fmt::format("the folder '{}' cannot be written: {}", parent.string(), std::strerror(errno)),
                 .fix = "check its permissions, or name another file"};
  return {};
}

Status check_output_folder(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored) || std::filesystem::is_directory(path, ignored)) return {};
  return Error{.code = Code::io, .file = path.string(), .what = "is a file", .fix = "name a folder to write to"};
}

}  // namespace planish
