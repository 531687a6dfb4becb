#include "planish/base/output_path.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace planish {

Status check_output_path(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    return Error{.code = Code::io, .file = path.string(), .what = "is a folder", .fix = "name the file to write"};
  const std::filesystem::path parent = path.parent_path().empty() ? "." : path.parent_path();
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

}  // namespace planish
