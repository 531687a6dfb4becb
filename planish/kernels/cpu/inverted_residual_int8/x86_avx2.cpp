#include "planish/kernels/cpu/inverted_residual_int8/variants.h"
#include "planish/kernels/cpu/inverted_residual_int8/vectors_x86_avx2.h"

namespace planish::kernels {
namespace {

/// Two products are added in 16 bits, see InvertedResidualKernel::pair_limit.
struct Avx2 : InvertedResidualAvx2Vectors {
  static constexpr int project_rows(int) { return 5; }
  static constexpr bool kSigned = true;

  PLANISH_INLINE static Vec dot(Vec acc, Vec x, Vec w) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(x, w), _mm256_set1_epi16(1)));
  }
  PLANISH_INLINE static Vec magnitude(Vec x) { return _mm256_abs_epi8(x); }
  PLANISH_INLINE static Vec with_sign(Vec w, Vec x) { return _mm256_sign_epi8(w, x); }
};

}  // namespace

constinit const InvertedResidualKernel kInvertedResidualAvx2{
    "inverted_residual_avx2",       Isa::avx2, 8, {4, 8, 16}, {4, 8, 16}, (1 << 15) - 1, true,
    InvertedResidualInt8<Avx2>::run};

}  // namespace planish::kernels
