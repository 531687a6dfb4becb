#include "planish/kernels/cpu/inverted_residual_int8/variants.h"
#include "planish/kernels/cpu/inverted_residual_int8/vectors_x86_avx2.h"

namespace planish::kernels {
namespace {

struct AvxVnni : InvertedResidualAvx2Vectors {
  static constexpr int project_rows(int vectors) { return vectors == 2 ? 6 : 8; }
  static constexpr bool kSigned = false;

  PLANISH_INLINE static Vec dot(Vec acc, Vec x, Vec w) { return _mm256_dpbusd_avx_epi32(acc, x, w); }
};

}  // namespace

constinit const InvertedResidualKernel kInvertedResidualAvxVnni{
    "inverted_residual_avxvnni", Isa::avxvnni, 8, {4, 8, 16}, {4, 8, 16}, 0, false, InvertedResidualInt8<AvxVnni>::run};

}  // namespace planish::kernels
