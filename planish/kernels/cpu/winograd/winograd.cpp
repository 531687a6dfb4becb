#include "planish/kernels/cpu/winograd/winograd.h"

#include <algorithm>
#include <array>

#include "planish/base/simd/portable.h"
#include "planish/kernels/cpu/winograd/generic.h"
#include "planish/kernels/cpu/winograd/variants.h"

namespace planish::kernels {
namespace {

/// Where the weight of a point, channel and filter lies in U.
class WeightIndex {
 public:
  WeightIndex(const WinogradKernel& kernel, int64_t filters, int64_t channels)
      : block_(kernel.block),
        points_(kernel.points),
        filters_((filters + kernel.width - 1) / kernel.width * kernel.width),
        channels_((channels + kernel.width - 1) / kernel.width * kernel.width) {}

  [[nodiscard]] int64_t size() const { return points_ * filters_ * channels_; }
  [[nodiscard]] size_t at(int64_t point, int64_t channel, int64_t filter) const {
    const int64_t first = filter / block_ * block_;
    const int64_t width = std::min(block_, filters_ - first);
    return static_cast<size_t>(first * points_ * channels_ + (point * channels_ + channel) * width + filter - first);
  }

 private:
  int64_t block_;
  int64_t points_;
  int64_t filters_;
  int64_t channels_;
};

/// G g G^T.
template <int M>
void transform_filter(const float* g, double* u) {
  constexpr int kSide = M + 2;
  double t[kSide][3];
  for (int j = 0; j < 3; ++j) {
    double column[kSide];
    WinogradTransform<M>::weight(g[j], g[3 + j], g[6 + j], column);
    for (int i = 0; i < kSide; ++i) t[i][j] = column[i];
  }
  for (int i = 0; i < kSide; ++i) WinogradTransform<M>::weight(t[i][0], t[i][1], t[i][2], u + i * kSide);
}

template <int M>
void recover_filter(const double* u, float* g) {
  constexpr int kSide = M + 2;
  double t[kSide][3];
  for (int i = 0; i < kSide; ++i) WinogradTransform<M>::unweight(u + i * kSide, t[i]);
  for (int j = 0; j < 3; ++j) {
    double column[kSide];
    double out[3];
    for (int i = 0; i < kSide; ++i) column[i] = t[i][j];
    WinogradTransform<M>::unweight(column, out);
    for (int i = 0; i < 3; ++i) g[i * 3 + j] = static_cast<float>(out[i]);
  }
}

constexpr size_t kMostPoints = 36;

}  // namespace

std::span<const WinogradKernel> winograd_kernels() {
  static const std::array kernels{
      kWinograd4Avx512,
      kWinograd4Avx2,
      Winograd<simd::PortableFloats, 4, 3, 2, 4>::row("winograd_4x4_baseline", Isa::baseline),
      kWinograd2Avx512,
      kWinograd2Avx2,
      Winograd<simd::PortableFloats, 2, 3, 2, 4>::row("winograd_2x2_baseline", Isa::baseline),
  };
  return kernels;
}

const WinogradKernel* best_winograd_kernel(int64_t tile) {
  for (const WinogradKernel& k : winograd_kernels())
    if (k.tile == tile && cpu_features().has(k.isa)) return &k;
  return nullptr;
}

int64_t winograd_weights_size(const WinogradKernel& kernel, int64_t filters, int64_t channels) {
  return WeightIndex(kernel, filters, channels).size();
}

void pack_winograd_weights(const WinogradKernel& kernel, int64_t filters, int64_t channels, const float* weights,
                           float* u) {
  const WeightIndex index(kernel, filters, channels);
  std::fill(u, u + index.size(), 0.0F);
  std::array<double, kMostPoints> points{};
  for (int64_t k = 0; k < filters; ++k)
    for (int64_t c = 0; c < channels; ++c) {
      const float* g = weights + (k * channels + c) * 9;
      kernel.tile == 2 ? transform_filter<2>(g, points.data()) : transform_filter<4>(g, points.data());
      for (int64_t p = 0; p < kernel.points; ++p)
        u[index.at(p, c, k)] = static_cast<float>(points[static_cast<size_t>(p)]);
    }
}

void unpack_winograd_weights(const WinogradKernel& kernel, int64_t filters, int64_t channels, const float* u,
                             float* weights) {
  const WeightIndex index(kernel, filters, channels);
  std::array<double, kMostPoints> points{};
  for (int64_t k = 0; k < filters; ++k)
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t p = 0; p < kernel.points; ++p) points[static_cast<size_t>(p)] = u[index.at(p, c, k)];
      float* g = weights + (k * channels + c) * 9;
      kernel.tile == 2 ? recover_filter<2>(points.data(), g) : recover_filter<4>(points.data(), g);
    }
}

}  // namespace planish::kernels
