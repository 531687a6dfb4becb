#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "planish/base/status.h"

namespace planish {

/// A file mapped into memory. Writing to the memory does not change the file.
class MappedFile {
 public:
  /// Errors: not_found, io; devices, pipes and folders are refused.
  static Result<std::shared_ptr<MappedFile>> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  MappedFile() = default;
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

/// A stretch of a file that stays mapped as long as `owner` lives.
struct ExternalBytes {
  std::shared_ptr<const MappedFile> owner;
  std::span<const std::byte> bytes;
};

/// The files next to a model that hold its large tensors. Each is mapped once.
class ExternalData {
 public:
  /// `folder` is the model's folder; empty: every access is refused.
  explicit ExternalData(std::filesystem::path folder) : folder_(std::move(folder)) {}

  /// `location` is relative to the folder and must stay in it, also after symbolic links are followed.
  /// `length` < 0: up to the end of the file. Errors: invalid_model (location), not_found, corrupt (out of the file).
  Result<ExternalBytes> read(const std::string& location, int64_t offset, int64_t length);
  /// The files opened so far, in order of name.
  [[nodiscard]] std::vector<std::filesystem::path> files() const;

 private:
  Result<std::shared_ptr<MappedFile>> open(const std::string& location);

  std::filesystem::path folder_;
  std::map<std::string, std::shared_ptr<MappedFile>> files_;
};

}  // namespace planish
