#include "planish/kernels/cpu/gemm/gemm.h"

#include <algorithm>
#include <array>

#include "planish/kernels/cpu/gemm/strassen.h"
#include "planish/kernels/cpu/gemm/variants.h"

namespace planish::kernels {
namespace {

/// Panels of `width` columns, as many as whole panels of C have.
int64_t packed_panels(const GemmKernel& kernel, int64_t n) {
  return (n + kernel.panel - 1) / kernel.panel * (kernel.panel / kernel.width);
}

/// Row `i` of packed panel `panel` holds what fast multiplication needs in the place of B12.
bool holds_sums(const GemmKernel& kernel, int64_t k, int64_t panel, int64_t i) {
  return kernel.products != 1 && panel % 2 == 1 && i < k / 2;
}

}  // namespace

std::span<const GemmKernel> gemm_kernels() {
  static const std::array kernels{
      kGemmAvx512,     kGemmAvx2,     Gemm<4, 4, 3>::direct("gemm_f32_baseline", Isa::baseline),
      kStrassenAvx512, kStrassenAvx2, Strassen<4, 4, 3>::kernel("strassen_f32_baseline", Isa::baseline),
  };
  return kernels;
}

const GemmKernel& best_gemm_kernel(int products) {
  const auto kernels = gemm_kernels();
  return *std::ranges::find_if(
      kernels, [products](const GemmKernel& k) { return k.products == products && cpu_features().has(k.isa); });
}

int64_t gemm_scratch_size(const GemmKernel& kernel, const GemmPart& part) {
  if (kernel.products == 1) return 0;
  using Sizes = Strassen<4, 4, 3>;
  return (part.chunk + 1) / 2 * Sizes::kRowSums * Sizes::sum_stride(part.depth) +
         Sizes::kWeightSums * Sizes::factor_stride(kernel.width, part.depth);
}

int64_t gemm_weights_size(const GemmKernel& kernel, int64_t k, int64_t n) {
  return packed_panels(kernel, n) * k * kernel.width;
}

void pack_gemm_weights(const GemmKernel& kernel, int64_t k, int64_t n, const float* b, int64_t k_stride,
                       int64_t n_stride, float* packed) {
  const auto at = [=](int64_t i, int64_t j) { return j < n ? b[i * k_stride + j * n_stride] : 0.0F; };
  for (int64_t panel = 0; panel < packed_panels(kernel, n); ++panel)
    for (int64_t i = 0; i < k; ++i)
      for (int64_t j = panel * kernel.width; j < (panel + 1) * kernel.width; ++j)
        *packed++ = holds_sums(kernel, k, panel, i)
                        ? static_cast<float>(double{at(i + k / 2, j)} - at(i, j) + at(i, j - kernel.width))
                        : at(i, j);
}

void unpack_gemm_weights(const GemmKernel& kernel, int64_t k, int64_t n, const float* packed, float* b,
                         int64_t k_stride, int64_t n_stride) {
  for (int64_t panel = 0; panel * kernel.width < n; ++panel)
    for (int64_t i = 0; i < k; ++i)
      for (int64_t j = panel * kernel.width; j < (panel + 1) * kernel.width; ++j, ++packed) {
        if (j >= n) continue;
        // B22 + B11 - T2: the lower half of the panel, and the panel before.
        b[i * k_stride + j * n_stride] =
            holds_sums(kernel, k, panel, i)
                ? static_cast<float>(double{packed[k / 2 * kernel.width]} + packed[-k * kernel.width] - *packed)
                : *packed;
      }
}

}  // namespace planish::kernels
