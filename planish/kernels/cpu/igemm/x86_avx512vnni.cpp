#include <immintrin.h>

#include "planish/base/simd/unroll.h"
#include "planish/base/simd/x86_avx512.h"
#include "planish/kernels/cpu/igemm/generic.h"
#include "planish/kernels/cpu/igemm/variants.h"

namespace planish::kernels {
namespace {

struct Avx512Vnni {
  using Elem = uint8_t;
  using Floats = simd::Avx512Floats;
  static constexpr int kDepth = 4;
  static constexpr int kLanes = 16;
  static constexpr int kVectors = 4;
  static constexpr int rows(int vectors) { return vectors == 4 ? 6 : 8; }

  template <int R, int V>
  static void micro(const uint8_t* const* rows, const int64_t* runs, int64_t run_count, int64_t steps,
                    const int8_t* weights, const int32_t* start, int32_t* sums) {
    using simd::unroll;
    __m512i acc[R][V];
    unroll<V>([&](auto v) {
      const __m512i first = _mm512_loadu_si512(start + v * kLanes);
      unroll<R>([&](auto r) { acc[r][v] = first; });
    });
    for (int64_t i = 0; i < run_count; ++i) {
      const uint8_t* x[R];
      unroll<R>([&](auto r) { x[r] = rows[r] + runs[i]; });
      for (int64_t k = 0; k < steps; ++k) {
        __m512i w[V];
        unroll<V>([&](auto v) { w[v] = _mm512_loadu_si512(weights + v * 64); });
        weights += V * 64;
        unroll<R>([&](auto r) {
          int32_t quad;
          __builtin_memcpy(&quad, x[r] + k * kDepth, sizeof(quad));
          const __m512i q = _mm512_set1_epi32(quad);
          unroll<V>([&](auto v) { acc[r][v] = _mm512_dpbusd_epi32(acc[r][v], q, w[v]); });
        });
      }
    }
    unroll<R>(
        [&](auto r) { unroll<V>([&](auto v) { _mm512_store_si512(sums + (r * kVectors + v) * kLanes, acc[r][v]); }); });
  }
};

}  // namespace

constinit const IgemmKernel kIgemmAvx512Vnni{"igemm_avx512vnni",    Isa::avx512vnni, IgemmInput::u8, {4, 16, 64}, 0,
                                             Igemm<Avx512Vnni>::run};

}  // namespace planish::kernels
