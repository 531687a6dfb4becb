#include <immintrin.h>

#include "planish/base/simd/unroll.h"
#include "planish/base/simd/x86_avx512.h"
#include "planish/kernels/cpu/depthwise_int8/generic.h"
#include "planish/kernels/cpu/depthwise_int8/variants.h"

namespace planish::kernels {
namespace {

struct Avx512Vnni {
  using Elem = uint8_t;
  using Floats = simd::Avx512Floats;
  static constexpr int kDepth = 4;
  static constexpr int kLanes = 16;
  static constexpr int kVectors = 4;

  template <int L>
  PLANISH_INLINE static void interleave(const uint8_t* const* rows, int n, const DepthwiseTask& t, uint8_t* to) {
    const __mmask64 mask = n >= 64 ? ~__mmask64{0} : (__mmask64{1} << n) - 1;
    const __m512i shift = _mm512_set1_epi8(static_cast<char>(t.shift));
    // Unpacking works within 128 bits: four bytes of each quarter first, so that channels come out in order.
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    constexpr __mmask16 kAll = 0xffff;
    const auto line = [&](int r) {
      const __m512i x = _mm512_add_epi8(_mm512_maskz_loadu_epi8(mask, rows[r]), shift);
      return _mm512_maskz_permutexvar_epi32(kAll, order, x);
    };
    const __m512i a = line(0);
    const __m512i b = line(1);
    const __m512i c = line(2);
    const __m512i d = L == 4 ? line(3) : _mm512_setzero_si512();
    const __m512i ab_low = _mm512_unpacklo_epi8(a, b);
    const __m512i ab_high = _mm512_unpackhi_epi8(a, b);
    const __m512i cd_low = _mm512_unpacklo_epi8(c, d);
    const __m512i cd_high = _mm512_unpackhi_epi8(c, d);
    _mm512_store_si512(to, _mm512_unpacklo_epi16(ab_low, cd_low));
    _mm512_store_si512(to + 64, _mm512_unpackhi_epi16(ab_low, cd_low));
    _mm512_store_si512(to + 128, _mm512_unpacklo_epi16(ab_high, cd_high));
    _mm512_store_si512(to + 192, _mm512_unpackhi_epi16(ab_high, cd_high));
  }

  template <int N>
  static void taps(const uint8_t* x, int64_t pixel_stride, const int64_t* offsets, const int8_t* weights,
                   const int32_t* start, int64_t pixels, int32_t* sums, int64_t sums_row) {
    using simd::unroll;
    __m512i w[N];
    const uint8_t* from[N];
    unroll<N>([&](auto i) {
      w[i] = _mm512_loadu_si512(weights + i * kVectors * 64);
      from[i] = x + offsets[i];
    });
    const __m512i first = start != nullptr ? _mm512_loadu_si512(start) : _mm512_setzero_si512();
    for (int64_t p = 0; p < pixels; ++p) {
      __m512i acc = start != nullptr ? first : _mm512_load_si512(sums + p * sums_row);
      unroll<N>([&](auto i) { acc = _mm512_dpbusd_epi32(acc, _mm512_load_si512(from[i] + p * pixel_stride), w[i]); });
      _mm512_store_si512(sums + p * sums_row, acc);
    }
  }
};

}  // namespace

constinit const DepthwiseInt8Kernel kDepthwiseAvx512Vnni{"depthwise_avx512vnni",        Isa::avx512vnni, {4, 64}, 1, 0,
                                                         DepthwiseInt8<Avx512Vnni>::run};

}  // namespace planish::kernels
