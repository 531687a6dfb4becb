#include <immintrin.h>

#include "planish/base/simd/bytes_x86_avx2.h"
#include "planish/base/simd/unroll.h"
#include "planish/kernels/cpu/igemm/bytes_x86_avx2.h"
#include "planish/kernels/cpu/igemm/generic.h"
#include "planish/kernels/cpu/igemm/variants.h"

namespace planish::kernels {
namespace {

struct AvxVnni {
  using Elem = uint8_t;
  using Floats = simd::Avx2Floats;
  static constexpr bool kFinishesBytes = true;
  static constexpr int kDepth = 4;
  static constexpr int kLanes = 8;
  static constexpr int kVectors = 2;
  static constexpr int rows(int vectors) { return vectors == 2 ? 6 : 8; }

  template <int R, int V, typename To>
  PLANISH_INLINE static void product(const uint8_t* const* rows, const int64_t* runs, int64_t run_count, int64_t steps,
                                     const int8_t* weights, const int32_t* start, To to) {
    using simd::unroll;
    const auto load = [](const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); };
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
          int32_t quad;
          __builtin_memcpy(&quad, x[r] + k * kDepth, sizeof(quad));
          const __m256i q = _mm256_set1_epi32(quad);
          unroll<V>([&](auto v)
                        __attribute__((always_inline)) { acc[r][v] = _mm256_dpbusd_avx_epi32(acc[r][v], q, w[v]); });
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

}  // namespace

constinit const IgemmKernel kIgemmAvxVnni{"igemm_avxvnni",    Isa::avxvnni, IgemmInput::u8, {4, 8, 16}, 0,
                                          Igemm<AvxVnni>::run};

}  // namespace planish::kernels
