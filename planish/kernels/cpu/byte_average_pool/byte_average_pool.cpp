#include "planish/kernels/cpu/byte_average_pool/byte_average_pool.h"

#include <array>

#include "planish/base/simd/portable.h"
#include "planish/kernels/cpu/byte_average_pool/generic.h"
#include "planish/kernels/cpu/byte_average_pool/variants.h"

namespace planish::kernels {
namespace {

struct PortableSums {
  static constexpr int kLanes = simd::PortableFloats::kLanes;
  static constexpr int kFloats = 1;
  struct V {
    int16_t v[kLanes];
  };
  static V zero() { return {}; }
  template <typename X>
  static V load(const X* p) {
    V out;
    for (int i = 0; i < kLanes; ++i) out.v[i] = p[i];
    return out;
  }
  static V add(V a, const V& b) {
    for (int i = 0; i < kLanes; ++i) a.v[i] = static_cast<int16_t>(a.v[i] + b.v[i]);
    return a;
  }
  static void floats(const V& x, simd::PortableFloats::F* y) {
    for (int i = 0; i < kLanes; ++i) y->v[i] = x.v[i];
  }
};

constexpr std::array kKernels{
    ByteAveragePoolKernel{"byte_average_pool_avx512", Isa::avx512, byte_average_pool_avx512},
    ByteAveragePoolKernel{"byte_average_pool_avx2", Isa::avx2, byte_average_pool_avx2},
    ByteAveragePoolKernel{"byte_average_pool_baseline", Isa::baseline,
                          byte_average_pool_generic<simd::PortableFloats, PortableSums>},
};

}  // namespace

std::span<const ByteAveragePoolKernel> byte_average_pool_kernels() { return kKernels; }

const ByteAveragePoolKernel& best_byte_average_pool_kernel() {
  for (const ByteAveragePoolKernel& k : kKernels)
    if (cpu_features().has(k.isa)) return k;
  return kKernels.back();
}

}  // namespace planish::kernels
