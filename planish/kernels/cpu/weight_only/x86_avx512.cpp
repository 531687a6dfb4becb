#include <immintrin.h>

#include "planish/kernels/cpu/weight_only/generic.h"
#include "planish/kernels/cpu/weight_only/variants.h"

namespace planish::kernels {
namespace {

struct Vectors {
  typedef float Vec __attribute__((vector_size(64)));
  typedef uint32_t Words __attribute__((vector_size(64)));

  // The unmasked intrinsics start from an undefined register, which g++ 12 warns about.
  static constexpr __mmask16 kAll = 0xffff;
  PLANISH_INLINE static Vec from_ints(__m512i v) { return _mm512_maskz_cvtepi32_ps(kAll, v); }
  PLANISH_INLINE static Vec from_words(Words w) { return from_ints(reinterpret_cast<__m512i>(w)); }
  PLANISH_INLINE static __m128i load(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
  PLANISH_INLINE static Vec from_i8(const uint8_t* p) { return from_ints(_mm512_maskz_cvtepi8_epi32(kAll, load(p))); }
  PLANISH_INLINE static Vec from_u8(const uint8_t* p) { return from_ints(_mm512_maskz_cvtepu8_epi32(kAll, load(p))); }
};

}  // namespace

constinit const WeightOnlyKernel kWeightOnlyAvx512 =
    WeightOnly<Vectors, 4, 4>::kernel("weight_only_f32_avx512", Isa::avx512);

}  // namespace planish::kernels
