#pragma once

#include <cstdint>

namespace planish::simd {
namespace {

/// What LDTILECFG reads. Source: Intel 64 and IA-32 Architectures Software Developer's Manual, LDTILECFG.
struct alignas(64) TileShapes {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

}  // namespace
}  // namespace planish::simd
