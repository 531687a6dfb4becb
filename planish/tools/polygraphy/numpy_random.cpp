#include "planish/tools/polygraphy/numpy_random.h"

#include <bit>
#include <cmath>

namespace planish::tools {
namespace {

constexpr size_t kWords = 624;
constexpr size_t kMiddle = 397;

uint64_t mask_for(uint64_t range) { return range == 0 ? 0 : ~uint64_t{0} >> std::countl_zero(range); }

/// Bits of one number where a word of the generator is cut into several; 32 and 64 take whole words.
int bits_of(DType dtype) {
  if (dtype == DType::boolean) return 1;
  const size_t bytes = dtype_bytes(dtype, 1);
  return static_cast<int>(bytes) * 8;
}

}  // namespace

RandomState::RandomState(uint32_t seed) {
  state_[0] = seed;
  for (size_t i = 1; i < kWords; ++i)
    state_[i] = 1812433253U * (state_[i - 1] ^ (state_[i - 1] >> 30)) + static_cast<uint32_t>(i);
}

uint32_t RandomState::next32() {
  if (position_ == kWords) {
    for (size_t i = 0; i < kWords; ++i) {
      const uint32_t y = (state_[i] & 0x80000000U) | (state_[(i + 1) % kWords] & 0x7fffffffU);
      state_[i] = state_[(i + kMiddle) % kWords] ^ (y >> 1) ^ ((y & 1U) != 0 ? 0x9908b0dfU : 0U);
    }
    position_ = 0;
  }
  uint32_t y = state_[position_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680U;
  y ^= (y << 15) & 0xefc60000U;
  return y ^ (y >> 18);
}

uint64_t RandomState::next64() {
  const uint64_t high = next32();
  return high << 32 | next32();
}

double RandomState::next_double() {
  const uint32_t high = next32() >> 5;
  const uint32_t low = next32() >> 6;
  return (high * 67108864.0 + low) / 9007199254740992.0;
}

uint32_t RandomState::bounded(uint32_t range, int bits) {
  if (range == 0) return 0;
  const auto mask = static_cast<uint32_t>(mask_for(range));
  while (true) {
    if (bits == 32) {
      const uint32_t value = next32() & mask;
      if (value <= range) return value;
      continue;
    }
    if (buffered_ == 0) {
      buffer_ = next32();
      buffered_ = 32 / bits - 1;
    } else {
      buffer_ >>= bits;
      --buffered_;
    }
    const uint32_t value = buffer_ & ((1U << bits) - 1) & mask;
    if (value <= range) return value;
  }
}

Tensor RandomState::floats(DType dtype, const Shape& shape, double low, double high) {
  double scale = high - low;
  double shift = low;
  // Two infinite ends would make a NaN; each alone still gives infinities.
  if (std::isinf(low)) {
    scale = low;
    shift = 0;
  }
  if (std::isinf(high)) scale = high;
  Tensor t(dtype, shape);
  for (int64_t i = 0; i < t.size(); ++i) t.set(i, next_double() * scale + shift);
  return t;
}

Tensor RandomState::integers(DType dtype, const Shape& shape, int64_t low, int64_t high) {
  Tensor t(dtype, shape);
  const uint64_t range = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
  const int bits = bits_of(dtype);
  buffered_ = 0;
  for (int64_t i = 0; i < t.size(); ++i) {
    uint64_t drawn = 0;
    if (bits < 64 || range <= 0xffffffffU) {
      drawn = bounded(static_cast<uint32_t>(range), bits == 64 ? 32 : bits);
    } else {
      do drawn = next64() & mask_for(range);
      while (drawn > range);
    }
    const auto value = static_cast<int64_t>(static_cast<uint64_t>(low) + drawn);
    if (dtype == DType::i64)
      t.data<int64_t>()[i] = value;
    else if (dtype == DType::u64)
      t.data<uint64_t>()[i] = static_cast<uint64_t>(value);
    else
      t.set(i, static_cast<double>(value));
  }
  return t;
}

}  // namespace planish::tools
