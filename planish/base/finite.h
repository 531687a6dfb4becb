#pragma once

#include <bit>
#include <cstdint>
#include <span>

namespace planish {

/// Whether no value is NaN or infinity. Looks at all of them without a branch for each, so that it takes no longer than
/// reading them.
inline bool all_finite(std::span<const float> values) {
  constexpr uint32_t kExponent = 0x7f800000;  // all of its bits are set in NaN and infinity alone
  uint32_t found = 0;
  for (const float v : values) found |= (std::bit_cast<uint32_t>(v) & kExponent) == kExponent ? 1 : 0;
  return found == 0;
}

}  // namespace planish
