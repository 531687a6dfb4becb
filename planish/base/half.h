#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace planish {

/// Converts a float to a small IEEE-like format with `E` exponent and `M` mantissa bits, round to nearest even,
/// and back. Value sets that differ from IEEE (no infinity, no negative zero) have their own functions below.
namespace small_float {

/// IEEE-like encode: has infinities and NaNs. Source: IEEE 754-2019, clause 4.3.1 (roundTiesToEven).
template <int E, int M>
constexpr uint32_t encode_ieee(float f) {
  const uint32_t x = std::bit_cast<uint32_t>(f);
  const uint32_t sign = (x >> 31) << (E + M);
  const uint32_t mag = x & 0x7fffffffU;
  constexpr uint32_t inf = ((1U << E) - 1) << M;
  if (mag > 0x7f800000U) return sign | inf | (1U << (M - 1));  // quiet NaN
  if (mag == 0x7f800000U) return sign | inf;
  constexpr int bias = (1 << (E - 1)) - 1;
  const int exp = static_cast<int>(mag >> 23) - 127;
  uint32_t man = (mag & 0x7fffffU) | ((mag >> 23) != 0 ? 0x800000U : 0U);
  if ((mag >> 23) == 0 && man == 0) return sign;
  int target = exp + bias;
  int shift = 23 - M;
  if (target < 1) {
    shift += 1 - target;
    target = 0;
  }
  if (shift > 25) return sign;
  const uint32_t half = 1U << (shift - 1);
  const uint32_t rest = man & ((1U << shift) - 1);
  man >>= shift;
  if (rest > half || (rest == half && (man & 1U))) ++man;
  // For normals `man` still holds the hidden bit: adding it to the exponent field also handles the carry.
  uint32_t out = target == 0 ? man : ((static_cast<uint32_t>(target - 1) << M) + man);
  if (out >= inf) out = inf;
  return sign | out;
}

template <int E, int M>
constexpr float decode_ieee(uint32_t v) {
  const uint32_t sign = (v >> (E + M)) & 1U;
  const uint32_t exp = (v >> M) & ((1U << E) - 1);
  const uint32_t man = v & ((1U << M) - 1);
  constexpr int bias = (1 << (E - 1)) - 1;
  if (exp == (1U << E) - 1) return std::bit_cast<float>((sign << 31) | 0x7f800000U | (man << (23 - M)));
  if (exp == 0) {
    float r = static_cast<float>(man);
    for (int i = 0; i < bias - 1 + M; ++i) r *= 0.5F;
    return sign ? -r : r;
  }
  return std::bit_cast<float>((sign << 31) | ((exp + 127 - bias) << 23) | (man << (23 - M)));
}
}  // namespace small_float

/// IEEE binary16.
struct f16 {
  uint16_t bits = 0;
  f16() = default;
  f16(float f) : bits(from_float(f)) {}              // NOLINT(google-explicit-constructor): behaves like a builtin
  operator float() const { return to_float(bits); }  // NOLINT(google-explicit-constructor)
  static f16 from_bits(uint16_t b) {
    f16 h;
    h.bits = b;
    return h;
  }
  static uint16_t from_float(float f) { return static_cast<uint16_t>(small_float::encode_ieee<5, 10>(f)); }
  static float to_float(uint16_t b) {
    const uint32_t sign = static_cast<uint32_t>(b & 0x8000U) << 16;
    const uint32_t mag = b & 0x7fffU;
    if (mag >= 0x7c00U) return std::bit_cast<float>(sign | 0x7f800000U | ((mag & 0x3ffU) << 13));
    if (mag < 0x400U) {
      const float r = static_cast<float>(mag) * 0x1p-24F;
      return sign ? -r : r;
    }
    return std::bit_cast<float>(sign | ((mag << 13) + ((127U - 15U) << 23)));
  }
};

/// bfloat16: the upper half of a binary32.
struct bf16 {
  uint16_t bits = 0;
  bf16() = default;
  bf16(float f) : bits(from_float(f)) {}  // NOLINT(google-explicit-constructor)
  operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }  // NOLINT
  static bf16 from_bits(uint16_t b) {
    bf16 h;
    h.bits = b;
    return h;
  }
  static uint16_t from_float(float f) {
    const uint32_t x = std::bit_cast<uint32_t>(f);
    if ((x & 0x7fffffffU) > 0x7f800000U) return static_cast<uint16_t>((x >> 16) | 0x40U);
    return static_cast<uint16_t>((x + 0x7fffU + ((x >> 16) & 1U)) >> 16);
  }
};

static_assert(sizeof(f16) == 2 && sizeof(bf16) == 2);

}  // namespace planish
