#include "planish/kernels/cpu/gemm/gemm.h"

#include <algorithm>

#include "planish/kernels/cpu/gemm/generic.h"
#include "planish/kernels/cpu/gemm/variants.h"

namespace planish::kernels {
namespace {

/// Where the numbers of B lie in its packed form.
class PackedPlaces {
 public:
  PackedPlaces(const GemmKernel& kernel, int64_t k, int64_t n)
      : products_(kernel.products),
        width_(kernel.width),
        depth_(kernel.products == 1 ? k : k / 2),
        panels_((n + kernel.panel - 1) / kernel.panel) {}

  [[nodiscard]] int64_t panels() const { return panels_; }
  [[nodiscard]] int64_t depth() const { return depth_; }
  [[nodiscard]] int64_t size() const { return panels_ * products_ * depth_ * width_; }
  [[nodiscard]] int64_t at(int64_t panel, int64_t product, int64_t k, int64_t column) const {
    return ((panel * products_ + product) * depth_ + k) * width_ + column;
  }

 private:
  int64_t products_;
  int64_t width_;
  int64_t depth_;
  int64_t panels_;
};

/// The factors of the seven products that B contributes, by quadrant 11, 12, 21, 22.
constexpr std::array<std::array<int, 4>, 7> kFactors{
    {{1, 0, 0, 1}, {1, 0, 0, 0}, {0, 1, 0, -1}, {-1, 0, 1, 0}, {0, 0, 0, 1}, {1, 1, 0, 0}, {0, 0, 1, 1}}};

}  // namespace

std::span<const GemmKernel> gemm_kernels() {
  static const std::array kernels{
      kGemmAvx512,     kGemmAvx2,     Gemm<4, 4, 3>::direct("gemm_f32_baseline", Isa::baseline),
      kStrassenAvx512, kStrassenAvx2, Gemm<4, 4, 3>::strassen("strassen_f32_baseline", Isa::baseline),
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
  return (part.chunk + 1) / 2 * kernel.products * Gemm<4, 4, 3>::sum_stride(part.depth);
}

int64_t gemm_weights_size(const GemmKernel& kernel, int64_t k, int64_t n) { return PackedPlaces(kernel, k, n).size(); }

void pack_gemm_weights(const GemmKernel& kernel, int64_t k, int64_t n, const float* b, int64_t k_stride,
                       int64_t n_stride, float* packed) {
  const PackedPlaces places(kernel, k, n);
  const auto number = [&](int64_t i, int64_t j) { return j < n ? b[i * k_stride + j * n_stride] : 0.0F; };
  for (int64_t panel = 0; panel < places.panels(); ++panel)
    for (int64_t i = 0; i < places.depth(); ++i)
      for (int64_t j = 0; j < kernel.width; ++j) {
        const int64_t column = panel * kernel.panel + j;
        if (kernel.products == 1) {
          packed[places.at(panel, 0, i, j)] = number(i, column);
          continue;
        }
        const std::array<float, 4> quadrants{number(i, column), number(i, column + kernel.width),
                                             number(places.depth() + i, column),
                                             number(places.depth() + i, column + kernel.width)};
        for (size_t q = 0; q < kFactors.size(); ++q) {
          float sum = 0;
          for (size_t f = 0; f < quadrants.size(); ++f) sum += static_cast<float>(kFactors[q][f]) * quadrants[f];
          packed[places.at(panel, static_cast<int64_t>(q), i, j)] = sum;
        }
      }
}

void unpack_gemm_weights(const GemmKernel& kernel, int64_t k, int64_t n, const float* packed, float* b,
                         int64_t k_stride, int64_t n_stride) {
  const PackedPlaces places(kernel, k, n);
  const auto put = [&](int64_t i, int64_t j, float value) {
    if (j < n) b[i * k_stride + j * n_stride] = value;
  };
  for (int64_t panel = 0; panel < places.panels(); ++panel)
    for (int64_t i = 0; i < places.depth(); ++i)
      for (int64_t j = 0; j < kernel.width; ++j) {
        const int64_t column = panel * kernel.panel + j;
        const auto product = [&](int64_t q) { return packed[places.at(panel, q, i, j)]; };
        if (kernel.products == 1) {
          put(i, column, product(0));
          continue;
        }
        const float b11 = product(1);
        const float b22 = product(4);
        put(i, column, b11);
        put(i, column + kernel.width, product(2) + b22);
        put(places.depth() + i, column, product(3) + b11);
        put(places.depth() + i, column + kernel.width, b22);
      }
}

}  // namespace planish::kernels
