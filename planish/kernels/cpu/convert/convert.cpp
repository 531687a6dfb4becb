#include "planish/kernels/cpu/convert/convert.h"

#include <array>

#include "planish/base/half.h"
#include "planish/kernels/cpu/convert/generic.h"
#include "planish/kernels/cpu/convert/variants.h"

namespace planish::kernels {
namespace {

void widen_f16(int64_t n, const uint16_t* x, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(f16::from_bits(x[i]));
}

void narrow_f16(int64_t n, const float* x, uint16_t* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = f16(x[i]).bits;
}

}  // namespace

std::span<const ConvertKernels> convert_kernels() {
  static const std::array kernels{
      kConvertAvx512,
      kConvertAvx2,
      ConvertKernels{"convert_baseline", Isa::baseline, widen_f16, narrow_f16, widen_bf16, narrow_bf16,
                     widen_byte<int8_t>, widen_byte<uint8_t>, narrow_byte<int8_t>, narrow_byte<uint8_t>},
  };
  return kernels;
}

const ConvertKernels& best_convert_kernels() {
  static const ConvertKernels* const best = [] {
    for (const ConvertKernels& k : convert_kernels())
      if (cpu_features().has(k.isa)) return &k;
    return &convert_kernels().back();
  }();
  return *best;
}

}  // namespace planish::kernels
