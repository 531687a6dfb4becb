#include <immintrin.h>

#include "planish/base/simd/x86_avx512.h"
#include "planish/kernels/cpu/inverted_residual_int8/generic.h"
#include "planish/kernels/cpu/inverted_residual_int8/variants.h"

namespace planish::kernels {
namespace {

struct Avx512Vnni {
  using Vec = __m512i;
  using Floats = simd::Avx512Floats;
  using Range = Floats::ByteRange;
  static constexpr int kLanes = 16;
  static constexpr int kExpandColumns = 2;
  static constexpr int kExpandVectors = 3;
  static constexpr int kProjectVectors = 4;
  static constexpr int project_rows(int vectors) { return vectors == 4 ? 6 : 8; }
  static constexpr bool kSigned = false;

  PLANISH_INLINE static Vec load(const void* p) { return _mm512_loadu_si512(p); }
  PLANISH_INLINE static void store(void* p, Vec x) { _mm512_storeu_si512(p, x); }
  PLANISH_INLINE static Vec broadcast4(const void* p) {
    int32_t four;
    __builtin_memcpy(&four, p, sizeof(four));
    return _mm512_set1_epi32(four);
  }
  PLANISH_INLINE static Vec broadcast16(const void* p) {
    return _mm512_maskz_broadcast_i32x4(0xffff, _mm_loadu_si128(static_cast<const __m128i*>(p)));
  }
  PLANISH_INLINE static Vec shuffle(Vec bytes, Vec order) { return _mm512_shuffle_epi8(bytes, order); }
  PLANISH_INLINE static Vec dot(Vec acc, Vec x, Vec w) { return _mm512_dpbusd_epi32(acc, x, w); }
  PLANISH_INLINE static void keep(Vec& x) { asm("" : "+v"(x)); }
  PLANISH_INLINE static __m512 to_float(Vec x) { return Floats::from_int(x); }

  PLANISH_INLINE static Range range(const QuantizedEpilogue& e, int32_t zero, bool is_signed) {
    return Floats::byte_range(e.low, e.high, zero, is_signed);
  }
  template <bool kFull>
  PLANISH_INLINE static Vec bytes_of(const __m512* x, const Range& range) {
    if constexpr (!kFull) return Floats::bytes_of<4>(x, range);
    const auto words = [](__m512 a, __m512 b) {
      constexpr __mmask16 kAll = 0xffff;
      return _mm512_packs_epi32(_mm512_maskz_cvtps_epi32(kAll, a), _mm512_maskz_cvtps_epi32(kAll, b));
    };
    return _mm512_packus_epi16(words(x[0], x[1]), words(x[2], x[3]));
  }
  template <int V>
  PLANISH_INLINE static void store_row(uint8_t* y, const __m512* x, int64_t cols, const Range& range) {
    const __mmask64 columns = ~__mmask64{0} >> (64 - cols);
    _mm512_mask_storeu_epi8(y, columns, Floats::in_order(Floats::bytes_of<V>(x, range)));
  }
};

}  // namespace

constinit const InvertedResidualKernel kInvertedResidualAvx512Vnni{
    "inverted_residual_avx512vnni",       Isa::avx512vnni, 16, {4, 16, 48}, {4, 16, 64}, 0, false,
    InvertedResidualInt8<Avx512Vnni>::run};

}  // namespace planish::kernels
