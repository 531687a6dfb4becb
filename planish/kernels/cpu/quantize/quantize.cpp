#include "planish/kernels/cpu/quantize/quantize.h"

#include <array>

#include "planish/base/simd/portable.h"
#include "planish/kernels/cpu/quantize/generic.h"
#include "planish/kernels/cpu/quantize/variants.h"

namespace planish::kernels {
namespace {

struct PortableInterleave {
  static constexpr int64_t kPixels = 1;
  static void pixels(const uint8_t* a, const uint8_t* b, const uint8_t* c, uint8_t* y) {
    y[0] = *a;
    y[1] = *b;
    y[2] = *c;
  }
};

constexpr std::array kKernels{
    QuantizeKernel{"quantize_avx512", Isa::avx512, quantize_avx512, quantize_pixels_avx512},
    QuantizeKernel{"quantize_avx2", Isa::avx2, quantize_avx2, quantize_pixels_avx2},
    QuantizeKernel{"quantize_baseline", Isa::baseline, quantize_generic<simd::PortableFloats>,
                   quantize_pixels_generic<simd::PortableFloats, PortableInterleave>},
};

}  // namespace

std::span<const QuantizeKernel> quantize_kernels() { return kKernels; }

const QuantizeKernel& best_quantize_kernel() {
  for (const QuantizeKernel& k : kKernels)
    if (cpu_features().has(k.isa)) return k;
  return kKernels.back();
}

}  // namespace planish::kernels
