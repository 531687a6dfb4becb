#include "planish/base/simd/x86_avx512.h"
#include "planish/kernels/cpu/panel_conv/generic.h"
#include "planish/kernels/cpu/panel_conv/variants.h"

namespace planish::kernels {
namespace {

template <>
struct HalfOf<simd::Avx512Floats> {
  static constexpr int kLanes = 8;
  using F = __m256;
  PLANISH_INLINE static F set1(float x) { return _mm256_set1_ps(x); }
  PLANISH_INLINE static F load(const float* p) { return _mm256_loadu_ps(p); }
  PLANISH_INLINE static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  PLANISH_INLINE static __m512 widened(F x) { return _mm512_insertf32x8(_mm512_setzero_ps(), x, 0); }
};

}  // namespace

constinit const PanelConvKernel kPanelConvAvx512 =
    PanelConv<simd::Avx512Floats, 14, 14, 9, 6>::row("panel_conv_avx512", Isa::avx512, 3);

}  // namespace planish::kernels
