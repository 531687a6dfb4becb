#include <immintrin.h>

#include "planish/base/simd/x86_avx2.h"
#include "planish/kernels/cpu/igemm/generic.h"
#include "planish/kernels/cpu/igemm/variants.h"

namespace planish::kernels {
namespace {

struct AvxVnni {
  using Elem = uint8_t;
  using Floats = simd::Avx2Floats;
  static constexpr int kDepth = 4;
  static constexpr int kLanes = 8;
  static constexpr int kVectors = 2;
  static constexpr int rows(int vectors) { return vectors == 2 ? 6 : 8; }

  template <int R, int V>
  static void micro(const uint8_t* const* rows, const int64_t* runs, int64_t run_count, int64_t steps,
                    const int8_t* weights, const int32_t* start, int32_t* sums) {
    __m256i acc[R][V];
    for (int v = 0; v < V; ++v) {
      const __m256i first = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(start + v * kLanes));
      for (int r = 0; r < R; ++r) acc[r][v] = first;
    }
    for (int64_t i = 0; i < run_count; ++i) {
      const uint8_t* x[R];
      for (int r = 0; r < R; ++r) x[r] = rows[r] + runs[i];
      for (int64_t k = 0; k < steps; ++k) {
        __m256i w[V];
        for (int v = 0; v < V; ++v) w[v] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights) + v);
        weights += V * 32;
        for (int r = 0; r < R; ++r) {
          int32_t quad;
          __builtin_memcpy(&quad, x[r] + k * kDepth, sizeof(quad));
          const __m256i q = _mm256_set1_epi32(quad);
          for (int v = 0; v < V; ++v) acc[r][v] = _mm256_dpbusd_avx_epi32(acc[r][v], q, w[v]);
        }
      }
    }
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < V; ++v)
        _mm256_store_si256(reinterpret_cast<__m256i*>(sums + (r * kVectors + v) * kLanes), acc[r][v]);
  }
};

}  // namespace

constinit const IgemmKernel kIgemmAvxVnni{"igemm_avxvnni",    Isa::avxvnni, IgemmInput::u8, {4, 8, 16}, 0,
                                          Igemm<AvxVnni>::run};

}  // namespace planish::kernels
