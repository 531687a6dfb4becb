#include <immintrin.h>

#include "planish/base/simd/x86_avx2.h"
#include "planish/kernels/cpu/depthwise_int8/generic.h"
#include "planish/kernels/cpu/depthwise_int8/simd/x86_avx2.h"
#include "planish/kernels/cpu/depthwise_int8/variants.h"

namespace planish::kernels {
namespace {

struct AvxVnni {
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
    add_taps<N>(
        x, pixel_stride, offsets, start, pixels, sums, sums_row,
        [&](int i) { return load_vector(weights + i * kVectors * 32); },
        [](__m256i acc, __m256i q, __m256i w) { return _mm256_dpbusd_avx_epi32(acc, q, w); });
  }
};

}  // namespace

constinit const DepthwiseInt8Kernel kDepthwiseAvxVnni{"depthwise_avxvnni",        Isa::avxvnni, {4, 32}, 1, 0,
                                                      DepthwiseInt8<AvxVnni>::run};

}  // namespace planish::kernels
