#include "planish/kernels/cpu/byte_max_pool/byte_max_pool.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "planish/kernels/cpu/byte_max_pool/generic.h"
#include "planish/kernels/cpu/byte_max_pool/variants.h"

namespace planish::kernels {
namespace {

struct PortableBytes {
  static constexpr int64_t kBytes = 16;
  using V = std::array<uint8_t, kBytes>;
  static V load(const uint8_t* p) {
    V v;
    std::memcpy(v.data(), p, v.size());
    return v;
  }
  static void store(uint8_t* p, const V& v) { std::memcpy(p, v.data(), v.size()); }
  static V set1(uint8_t x) {
    V v;
    v.fill(x);
    return v;
  }
  template <bool kSigned>
  static V max(V a, const V& b) {
    for (size_t i = 0; i < a.size(); ++i) {
      if constexpr (kSigned)
        a[i] = static_cast<uint8_t>(std::max(static_cast<int8_t>(a[i]), static_cast<int8_t>(b[i])));
      else
        a[i] = std::max(a[i], b[i]);
    }
    return a;
  }
};

constexpr std::array kKernels{
    ByteMaxPoolKernel{"byte_max_pool_avx512", Isa::avx512, byte_max_pool_avx512},
    ByteMaxPoolKernel{"byte_max_pool_avx2", Isa::avx2, byte_max_pool_avx2},
    ByteMaxPoolKernel{"byte_max_pool_baseline", Isa::baseline, byte_max_pool_generic<PortableBytes>},
};

}  // namespace

std::span<const ByteMaxPoolKernel> byte_max_pool_kernels() { return kKernels; }

const ByteMaxPoolKernel& best_byte_max_pool_kernel() {
  for (const ByteMaxPoolKernel& k : kKernels)
    if (cpu_features().has(k.isa)) return k;
  return kKernels.back();
}

}  // namespace planish::kernels
