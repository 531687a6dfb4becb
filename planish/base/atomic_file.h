#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "planish/base/status.h"

namespace planish {

/// Writes a whole file through a temporary one in the same folder that is flushed to disk and then renamed, so that
/// readers (and a kill) see the old content or the new one, nothing between. Pieces are written one after the other. A
/// link is followed, an old file's permissions stay; pipes and devices are written to directly.
/// Error io names the file and the cause; the temporary file is removed.
Status write_file_atomically(const std::filesystem::path& path, std::span<const std::span<const uint8_t>> pieces);
Status write_file_atomically(const std::filesystem::path& path, std::span<const uint8_t> bytes);
Status write_file_atomically(const std::filesystem::path& path, std::string_view text);

/// Reads a whole regular file as text. Errors: not_found, io, unsupported (larger than `max_bytes`).
Result<std::string> read_file(const std::filesystem::path& path, uint64_t max_bytes = uint64_t{1} << 34);
/// The same as bytes.
Result<std::vector<uint8_t>> read_file_bytes(const std::filesystem::path& path, uint64_t max_bytes = uint64_t{1} << 36);

/// 64-bit checksum of bytes; detects damage, not attacks. Four independent lanes of 8-byte words (multiply and mix), so
/// that it runs at memory speed. Pieces of any size may be given one after the other.
class Checksum64 {
 public:
  void update(std::span<const uint8_t> bytes);
  [[nodiscard]] uint64_t value() const;

 private:
  void absorb(std::span<const uint8_t> bytes);
  std::array<uint64_t, 4> lanes_{0x243f6a8885a308d3ULL, 0x13198a2e03707344ULL, 0xa4093822299f31d0ULL,
                                 0x082efa98ec4e6c89ULL};
  std::array<uint8_t, 32> pending_{};
  size_t pending_size_ = 0;
  uint64_t length_ = 0;
};

uint64_t checksum64(std::span<const uint8_t> bytes);

/// checksum64 of a file's content, read piece by piece. Errors: not_found, io.
Result<uint64_t> file_checksum(const std::filesystem::path& path);

}  // namespace planish
