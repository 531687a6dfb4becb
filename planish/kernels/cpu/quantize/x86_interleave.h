#pragma once

#include <immintrin.h>

#include <cstdint>

#include "planish/base/macros.h"

namespace planish::kernels {
namespace {

/// [block of 16 bytes][plane][byte]: pixel, or -1 for a byte of another plane.
struct InterleaveMasks {
  alignas(16) int8_t from[3][3][16];
};
constexpr InterleaveMasks make_interleave_masks() {
  InterleaveMasks m{};
  for (int i = 0; i < 48; ++i)
    for (int plane = 0; plane < 3; ++plane)
      m.from[i / 16][plane][i % 16] = static_cast<int8_t>(i % 3 == plane ? i / 3 : -1);
  return m;
}
constexpr InterleaveMasks kInterleaveMasks = make_interleave_masks();

/// Three planes of bytes as pixels, by shuffles of 16 bytes.
struct X86Interleave {
  static constexpr int64_t kPixels = 16;

  PLANISH_INLINE static __m128i load(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
  PLANISH_INLINE static void pixels(const uint8_t* a, const uint8_t* b, const uint8_t* c, uint8_t* y) {
    const __m128i planes[3] = {load(a), load(b), load(c)};
    for (int block = 0; block < 3; ++block) {
      __m128i sum = _mm_setzero_si128();
      for (int plane = 0; plane < 3; ++plane)
        sum = _mm_or_si128(sum, _mm_shuffle_epi8(planes[plane], load(kInterleaveMasks.from[block][plane])));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(y) + block, sum);
    }
  }
};

}  // namespace
}  // namespace planish::kernels
