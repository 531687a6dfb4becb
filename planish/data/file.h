#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "planish/base/status.h"

namespace planish {

/// Whole content of a regular file. Errors: not_found, io, and unsupported when it is larger than `max_bytes`.
Result<std::vector<uint8_t>> read_file(const std::string& path, uint64_t max_bytes = uint64_t{1} << 36);

/// Writes a temporary file next to `path`, then renames it, so that a kill leaves the old content.
Status write_file(const std::string& path, std::span<const uint8_t> bytes);
/// The same for text.
Status write_text_file(const std::string& path, const std::string& text);

/// Standard Base64 (RFC 4648) with padding.
std::string base64_encode(std::span<const uint8_t> bytes);
/// Inverse; line breaks are skipped. Error corrupt: another character, or a length that no encoder writes.
Result<std::vector<uint8_t>> base64_decode(std::string_view text);

}  // namespace planish
