#include <immintrin.h>

#include "planish/base/simd/x86_avx2.h"
#include "planish/kernels/cpu/depthwise_int8/generic.h"
#include "planish/kernels/cpu/depthwise_int8/simd/x86_avx2.h"
#include "planish/kernels/cpu/depthwise_int8/variants.h"

namespace planish::kernels {
namespace {

/// Two products are added in 16 bits: 127 * 128 * 2 is below 2^15, so that inputs of 7 bits are exact.
struct Avx2Bytes {
  using Elem = uint8_t;
  using Floats = simd::Avx2Floats;
  static constexpr int kDepth = 4;
  static constexpr int kLanes = 8;
  static constexpr int kVectors = 4;

  template <int L>
  PLANISH_INLINE static void interleave(const uint8_t* const* rows, int n, const DepthwiseTask& t, uint8_t* to) {
    interleave_bytes<L>(rows, n, t, to);
  }

  template <int N>
  static void taps(const uint8_t* x, int64_t pixel_stride, const int64_t* offsets, const int8_t* weights,
                   const int32_t* start, int64_t pixels, int32_t* sums, int64_t sums_row) {
    const __m256i ones = _mm256_set1_epi16(1);
    add_taps<N>(
        x, pixel_stride, offsets, start, pixels, sums, sums_row,
        [&](int i) { return load_vector(weights + i * kVectors * 32); },
        [&](__m256i acc, __m256i q, __m256i w) {
          return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(q, w), ones));
        });
  }
};

/// Everything widened to 16 bits: exact for all bytes.
struct Avx2Words {
  using Elem = int16_t;
  using Floats = simd::Avx2Floats;
  static constexpr int kDepth = 2;
  static constexpr int kLanes = 8;
  static constexpr int kVectors = 2;

  template <int L>
  PLANISH_INLINE static void interleave(const uint8_t* const* rows, int n, const DepthwiseTask& t, int16_t* to) {
    interleave_words(rows, n, t, to);
  }

  template <int N>
  static void taps(const int16_t* x, int64_t pixel_stride, const int64_t* offsets, const int8_t* weights,
                   const int32_t* start, int64_t pixels, int32_t* sums, int64_t sums_row) {
    add_taps<N>(
        x, pixel_stride, offsets, start, pixels, sums, sums_row,
        [&](int i) {
          const auto* bytes = reinterpret_cast<const __m128i*>(weights + i * kVectors * 16);
          return _mm256_cvtepi8_epi16(_mm_loadu_si128(bytes));
        },
        [](__m256i acc, __m256i q, __m256i w) { return _mm256_add_epi32(acc, _mm256_madd_epi16(q, w)); });
  }
};

}  // namespace

constinit const DepthwiseInt8Kernel kDepthwiseAvx2Bytes{
    "depthwise_avx2_bytes", Isa::avx2, {4, 32}, 1, (1 << 15) - 1, DepthwiseInt8<Avx2Bytes>::run};
constinit const DepthwiseInt8Kernel kDepthwiseAvx2Words{"depthwise_avx2_words",       Isa::avx2, {2, 16}, 2, 0,
                                                        DepthwiseInt8<Avx2Words>::run};

}  // namespace planish::kernels
