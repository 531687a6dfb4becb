#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "planish/base/status.h"

namespace planish {

/// Standard Base64 (RFC 4648) with padding.
std::string base64_encode(std::span<const uint8_t> bytes);
/// Inverse; line breaks are skipped. Error corrupt: another character, or a length that no encoder writes.
Result<std::vector<uint8_t>> base64_decode(std::string_view text);

}  // namespace planish
