#pragma once

#include <bit>
#include <cstdint>

namespace planish::kernels {
namespace {  // every variant compiles its own copy, with its own instruction set

inline void widen_bf16(int64_t n, const uint16_t* x, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = std::bit_cast<float>(static_cast<uint32_t>(x[i]) << 16);
}

inline void narrow_bf16(int64_t n, const float* x, uint16_t* y) {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(x[i]);
    const uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
    // Rounding could carry a NaN's mantissa into infinity.
    const bool nan = (bits & 0x7fffffffU) > 0x7f800000U;
    y[i] = static_cast<uint16_t>(nan ? ((bits >> 16) | 0x40U) : rounded);
  }
}

template <typename T>
inline void widen_byte(int64_t n, const T* x, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(x[i]);
}

template <typename T>
inline void narrow_byte(int64_t n, const float* x, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(static_cast<int32_t>(x[i]));
}

}  // namespace
}  // namespace planish::kernels
