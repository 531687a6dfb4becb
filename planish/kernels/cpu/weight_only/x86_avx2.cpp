#include <immintrin.h>

#include "planish/kernels/cpu/weight_only/generic.h"
#include "planish/kernels/cpu/weight_only/variants.h"

namespace planish::kernels {
namespace {

struct Vectors {
  typedef float Vec __attribute__((vector_size(32)));
  typedef uint32_t Words __attribute__((vector_size(32)));

  PLANISH_INLINE static Vec from_words(Words w) { return _mm256_cvtepi32_ps(reinterpret_cast<__m256i>(w)); }
  PLANISH_INLINE static __m128i load(const uint8_t* p) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)); }
  PLANISH_INLINE static Vec from_i8(const uint8_t* p) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load(p))); }
  PLANISH_INLINE static Vec from_u8(const uint8_t* p) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load(p))); }
};

}  // namespace

constinit const WeightOnlyKernel kWeightOnlyAvx2 = WeightOnly<Vectors, 2, 2>::kernel("weight_only_f32_avx2", Isa::avx2);

}  // namespace planish::kernels
