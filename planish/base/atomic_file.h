#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>

#include "planish/base/status.h"

namespace planish {

/// Writes a whole file through a temporary one in the same folder that is flushed to disk and then renamed, so that
/// readers (and a kill) see the old content or the new one, nothing between. Pieces are written one after the other.
/// Error io names the file and the cause; the temporary file is removed.
Status write_file_atomically(const std::filesystem::path& path, std::span<const std::span<const uint8_t>> pieces);
Status write_file_atomically(const std::filesystem::path& path, std::string_view text);

/// Reads a whole file. Errors: not_found, io, unsupported (larger than `max_bytes`).
Result<std::string> read_file(const std::filesystem::path& path, uint64_t max_bytes = uint64_t{1} << 34);

/// 64-bit checksum of bytes (FNV-1a over 8-byte words with a final mix); detects damage, not attacks.
uint64_t checksum64(std::span<const uint8_t> bytes, uint64_t seed = 0);

}  // namespace planish
