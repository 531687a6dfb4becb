#include <immintrin.h>

#include "planish/base/simd/unroll.h"
#include "planish/base/simd/x86_avx2.h"
#include "planish/kernels/cpu/igemm/generic.h"
#include "planish/kernels/cpu/igemm/variants.h"

namespace planish::kernels {
namespace {

struct AvxVnni {
  using Elem = uint8_t;
  using Floats = simd::Avx2Floats;
  static constexpr bool kFinishesBytes = false;
  static constexpr int kDepth = 4;
  static constexpr int kLanes = 8;
  static constexpr int kVectors = 2;
  static constexpr int rows(int vectors) { return vectors == 2 ? 6 : 8; }

  template <int R, int V>
  static void micro(const uint8_t* const* rows, const int64_t* runs, int64_t run_count, int64_t steps,
                    const int8_t* weights, const int32_t* start, int32_t* sums) {
    using simd::unroll;
    const auto load = [](const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); };
    __m256i acc[R][V];
    unroll<V>([&](auto v) { unroll<R>([&](auto r) { acc[r][v] = load(start + v * kLanes); }); });
    for (int64_t i = 0; i < run_count; ++i) {
      const uint8_t* x[R];
      unroll<R>([&](auto r) { x[r] = rows[r] + runs[i]; });
      for (int64_t k = 0; k < steps; ++k) {
        __m256i w[V];
        unroll<V>([&](auto v) { w[v] = load(weights + v * 32); });
        weights += V * 32;
        unroll<R>([&](auto r) {
          int32_t quad;
          __builtin_memcpy(&quad, x[r] + k * kDepth, sizeof(quad));
          const __m256i q = _mm256_set1_epi32(quad);
          unroll<V>([&](auto v) { acc[r][v] = _mm256_dpbusd_avx_epi32(acc[r][v], q, w[v]); });
        });
      }
    }
    unroll<R>([&](auto r) {
      unroll<V>([&](auto v) {
        _mm256_store_si256(reinterpret_cast<__m256i*>(sums + (r * kVectors + v) * kLanes), acc[r][v]);
      });
    });
  }
};

}  // namespace

constinit const IgemmKernel kIgemmAvxVnni{"igemm_avxvnni",    Isa::avxvnni, IgemmInput::u8, {4, 8, 16}, 0,
                                          Igemm<AvxVnni>::run};

}  // namespace planish::kernels
