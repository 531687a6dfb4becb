#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "planish/base/atomic_file.h"
#include "planish/engine/file_header.h"

namespace planish::test {

/// Makes the checksums of an engine file right again after a change, so that what lies behind them is reached. Leaves
/// bytes alone whose header makes no sense.
inline void repair_checksums(std::span<uint8_t> bytes) {
  if (bytes.size() < sizeof(FileHeader)) return;
  FileHeader h;
  std::memcpy(&h, bytes.data(), sizeof(h));
  const std::span<const uint8_t> all = bytes;
  if (h.meta_bytes > bytes.size() - sizeof(h) || h.weights_offset > bytes.size() ||
      h.weights_bytes > bytes.size() - h.weights_offset)
    return;
  h.meta_checksum = checksum64(all.subspan(sizeof(h), h.meta_bytes));
  h.weights_checksum = checksum64(all.subspan(h.weights_offset, h.weights_bytes));
  std::memcpy(bytes.data(), &h, sizeof(h));
  h.header_checksum = checksum64(all.first(offsetof(FileHeader, header_checksum)));
  std::memcpy(bytes.data(), &h, sizeof(h));
}

}  // namespace planish::test
