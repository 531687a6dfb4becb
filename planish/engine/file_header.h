#pragma once

#include <array>
#include <cstdint>

namespace planish {

/// The first 64 bytes of an engine file, little-endian. Behind it: metadata (FlatBuffers, engine.fbs), padding to 64,
/// then the weights.
struct FileHeader {
  std::array<char, 8> magic;
  uint32_t format;          ///< kEngineFormat of the writer
  uint32_t header_bytes;    ///< 64
  uint64_t meta_bytes;      ///< at offset 64
  uint64_t weights_offset;  ///< multiple of 64
  uint64_t weights_bytes;
  uint64_t meta_checksum;     ///< checksum64 of the metadata
  uint64_t weights_checksum;  ///< checksum64 of the weights
  uint64_t header_checksum;   ///< checksum64 of the 56 bytes before
};
static_assert(sizeof(FileHeader) == 64);

inline constexpr std::array<char, 8> kEngineMagic{'P', 'L', 'A', 'N', 'I', 'S', 'H', '\x1a'};
/// Raised when an older reader could not understand a newer file.
inline constexpr uint32_t kEngineFormat = 1;
inline constexpr uint64_t kWeightAlignment = 64;

}  // namespace planish
