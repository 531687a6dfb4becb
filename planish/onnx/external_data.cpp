#include "planish/onnx/external_data.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace planish {
namespace {

namespace fs = std::filesystem;

Error file_error(const fs::path& path, Code code, std::string what, std::string fix = {}) {
  return Error{.code = code, .file = path.string(), .what = std::move(what), .fix = std::move(fix)};
}

Error leaves_folder(const std::string& location, std::string_view how) {
  return Error{.code = Code::invalid_model,
               .file = location,
               .what = fmt::format("external data {}", how),
               .fix = "keep external data in the model's folder, named by a relative path"};
}

}  // namespace

Result<std::shared_ptr<MappedFile>> MappedFile::open(const fs::path& path) {
  // O_NONBLOCK: opening a pipe must not wait for a writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return file_error(path, errno == ENOENT ? Code::not_found : Code::io,
                      fmt::format("cannot be opened: {}", std::strerror(errno)), "check the path and its permissions");
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    return file_error(path, Code::io, S_ISDIR(info.st_mode) ? "is a folder" : "is not a regular file");
  }
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->size_ = static_cast<size_t>(info.st_size);
  if (file->size_ != 0) {
    // Private and writable: code that edits a constant in place gets its own page instead of a fault.
    void* p = ::mmap(nullptr, file->size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
    if (p == MAP_FAILED) {
      const int reason = errno;
      ::close(fd);
      return file_error(path, Code::io, fmt::format("cannot be mapped: {}", std::strerror(reason)));
    }
    file->data_ = static_cast<std::byte*>(p);
  }
  ::close(fd);
  return file;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

Result<std::shared_ptr<MappedFile>> ExternalData::open(const std::string& location) {
  if (const auto it = files_.find(location); it != files_.end()) return it->second;
  if (folder_.empty())
    return Error{.code = Code::unsupported,
                 .file = location,
                 .what = "the model keeps tensors in another file, but it was given without a folder",
                 .fix = "import the model from its file"};
  const fs::path relative(location);
  if (location.empty() || location.find('\0') != std::string::npos)
    return leaves_folder(location, "has no usable location");
  if (relative.is_absolute()) return leaves_folder(location, "is named by an absolute path");
  if (std::ranges::find(relative, fs::path("..")) != relative.end())
    return leaves_folder(location, "is named by a path with '..'");
  std::error_code ec;
  const fs::path root = fs::canonical(folder_, ec);
  const fs::path target = ec ? fs::path() : fs::canonical(root / relative, ec);
  if (ec)
    return file_error(folder_ / relative, Code::not_found,
                      fmt::format("the external data cannot be read: {}", ec.message()),
                      "copy the data file next to the model");
  const auto [end, unused] = std::mismatch(root.begin(), root.end(), target.begin(), target.end());
  if (end != root.end()) return leaves_folder(location, "is a symbolic link to outside the model's folder");
  auto file = PLANISH_TRY(MappedFile::open(target));
  files_.emplace(location, file);
  return file;
}

std::vector<fs::path> ExternalData::files() const {
  std::vector<fs::path> out;
  for (const auto& [location, file] : files_) out.push_back(folder_ / location);
  return out;
}

Result<ExternalBytes> ExternalData::read(const std::string& location, int64_t offset, int64_t length) {
  const auto file = PLANISH_TRY(open(location));
  const auto size = static_cast<int64_t>(file->bytes().size());
  if (offset < 0 || offset > size || (length >= 0 && length > size - offset))
    return Error{
        .code = Code::corrupt,
        .file = location,
        .what = fmt::format("the model asks for {} bytes at offset {}, but the file has {}", length, offset, size),
        .fix = "copy the data file again; it is truncated or belongs to another model"};
  const int64_t count = length < 0 ? size - offset : length;
  return ExternalBytes{file, file->bytes().subspan(static_cast<size_t>(offset), static_cast<size_t>(count))};
}

}  // namespace planish
