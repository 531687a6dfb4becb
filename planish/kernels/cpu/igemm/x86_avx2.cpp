#include <immintrin.h>

#include "planish/base/simd/bytes_x86_avx2.h"
#include "planish/base/simd/unroll.h"
#include "planish/kernels/cpu/igemm/bytes_x86_avx2.h"
#include "planish/kernels/cpu/igemm/generic.h"
#include "planish/kernels/cpu/igemm/variants.h"

namespace planish::kernels {
namespace {

using simd::unroll;

PLANISH_INLINE __m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
PLANISH_INLINE __m256i broadcast4(const void* p) {
  int32_t four;
  __builtin_memcpy(&four, p, sizeof(four));
  return _mm256_set1_epi32(four);
}

/// Two products are added in 16 bits: 127 * 128 * 2 is below 2^15, so that inputs of 7 bits are exact.
struct Avx2Bytes {
  using Elem = uint8_t;
  using Floats = simd::Avx2Floats;
  static constexpr bool kFinishesBytes = true;
  static constexpr int kDepth = 4;
  static constexpr int kLanes = 8;
  static constexpr int kVectors = 2;
  static constexpr int rows(int) { return 5; }

  template <int R, int V, typename To>
  PLANISH_INLINE static void product(const uint8_t* const* rows, const int64_t* runs, int64_t run_count, int64_t steps,
                                     const int8_t* weights, const int32_t* start, To to) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i acc[R][V];
    unroll<V>([&](auto v) __attribute__((always_inline)) {
      unroll<R>([&](auto r) __attribute__((always_inline)) { acc[r][v] = load(start + v * kLanes); });
    });
    for (int64_t i = 0; i < run_count; ++i) {
      const uint8_t* x[R];
      unroll<R>([&](auto r) __attribute__((always_inline)) { x[r] = rows[r] + runs[i]; });
      for (int64_t k = 0; k < steps; ++k) {
        __m256i w[V];
        unroll<V>([&](auto v) __attribute__((always_inline)) { w[v] = load(weights + v * 32); });
        weights += V * 32;
        unroll<R>([&](auto r) __attribute__((always_inline)) {
          const __m256i q = broadcast4(x[r] + k * kDepth);
          unroll<V>([&](auto v) __attribute__((always_inline)) {
            acc[r][v] = _mm256_add_epi32(acc[r][v], _mm256_madd_epi16(_mm256_maddubs_epi16(q, w[v]), ones));
          });
        });
      }
    }
    finish(acc, to, kVectors * kLanes);
  }

  template <int R, int V>
  static void micro(const uint8_t* const* rows, const int64_t* runs, int64_t run_count, int64_t steps,
                    const int8_t* weights, const int32_t* start, int32_t* sums) {
    product<R, V>(rows, runs, run_count, steps, weights, start, sums);
  }

  template <int R, int V>
  static void bytes(const uint8_t* const* rows, const int64_t* runs, int64_t run_count, int64_t steps,
                    const int8_t* weights, const int32_t* start, const QuantizedEpilogue& e, int64_t at,
                    int64_t channel, int64_t cols) {
    product<R, V>(rows, runs, run_count, steps, weights, start, ByteTile{e, at, channel, cols});
  }
};

/// Everything widened to 16 bits: exact for all bytes.
struct Avx2Words {
  using Elem = int16_t;
  using Floats = simd::Avx2Floats;
  static constexpr bool kFinishesBytes = true;
  static constexpr int kDepth = 2;
  static constexpr int kLanes = 8;
  static constexpr int kVectors = 2;
  static constexpr int rows(int) { return 6; }

  template <int R, int V, typename To>
  PLANISH_INLINE static void product(const int16_t* const* rows, const int64_t* runs, int64_t run_count, int64_t steps,
                                     const int8_t* weights, const int32_t* start, To to) {
    __m256i acc[R][V];
    unroll<V>([&](auto v) __attribute__((always_inline)) {
      unroll<R>([&](auto r) __attribute__((always_inline)) { acc[r][v] = load(start + v * kLanes); });
    });
    for (int64_t i = 0; i < run_count; ++i) {
      const int16_t* x[R];
      unroll<R>([&](auto r) __attribute__((always_inline)) { x[r] = rows[r] + runs[i]; });
      for (int64_t k = 0; k < steps; ++k) {
        __m256i w[V];
        unroll<V>([&](auto v) __attribute__((always_inline)) {
          w[v] = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(weights) + v));
        });
        weights += V * 16;
        unroll<R>([&](auto r) __attribute__((always_inline)) {
          const __m256i q = broadcast4(x[r] + k * kDepth);
          unroll<V>([&](auto v) __attribute__((always_inline)) {
            acc[r][v] = _mm256_add_epi32(acc[r][v], _mm256_madd_epi16(q, w[v]));
          });
        });
      }
    }
    finish(acc, to, kVectors * kLanes);
  }

  template <int R, int V>
  static void micro(const int16_t* const* rows, const int64_t* runs, int64_t run_count, int64_t steps,
                    const int8_t* weights, const int32_t* start, int32_t* sums) {
    product<R, V>(rows, runs, run_count, steps, weights, start, sums);
  }

  template <int R, int V>
  static void bytes(const int16_t* const* rows, const int64_t* runs, int64_t run_count, int64_t steps,
                    const int8_t* weights, const int32_t* start, const QuantizedEpilogue& e, int64_t at,
                    int64_t channel, int64_t cols) {
    product<R, V>(rows, runs, run_count, steps, weights, start, ByteTile{e, at, channel, cols});
  }
};

}  // namespace

constinit const IgemmKernel kIgemmAvx2Bytes{"igemm_avx2_bytes", Isa::avx2,     IgemmInput::u8,
                                            {4, 8, 16},         (1 << 15) - 1, Igemm<Avx2Bytes>::run};
constinit const IgemmKernel kIgemmAvx2Words{"igemm_avx2_words", Isa::avx2, IgemmInput::i16,
                                            {2, 8, 16},         0,         Igemm<Avx2Words>::run};

}  // namespace planish::kernels
