#include "planish/kernels/cpu/winograd/winograd.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "planish/base/parallel.h"
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

  [[nodiscard]] int64_t filters() const { return filters_; }  ///< rounded up to whole vectors
  [[nodiscard]] int64_t channels() const { return channels_; }
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

/// Four filters at a time, in double: the transformed weights are rounded once.
constexpr int64_t kFilters = 4;
using Doubles = double __attribute__((vector_size(kFilters * sizeof(double))));
using Floats = float __attribute__((vector_size(kFilters * sizeof(float))));

/// G g G^T for the filters from `first` on and one channel; those beyond the last are zero.
template <int M>
void transform_filters(int64_t first, int64_t filters, int64_t channel, int64_t channels, const float* weights,
                       Floats* u) {
  constexpr int kSide = M + 2;
  Doubles g[9] = {};
  for (int64_t l = 0; l < std::min(kFilters, filters - first); ++l)
    for (int64_t i = 0; i < 9; ++i) g[i][l] = static_cast<double>(weights[((first + l) * channels + channel) * 9 + i]);
  Doubles t[3][kSide];
  for (int j = 0; j < 3; ++j) WinogradTransform<M>::weight(g[j], g[3 + j], g[6 + j], t[j]);
  for (int i = 0; i < kSide; ++i) {
    Doubles row[kSide];
    WinogradTransform<M>::weight(t[0][i], t[1][i], t[2][i], row);
    for (int j = 0; j < kSide; ++j) u[i * kSide + j] = __builtin_convertvector(row[j], Floats);
  }
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
  const int64_t blocks = (index.filters() + kernel.block - 1) / kernel.block;
  constexpr int64_t kChannels = 32;  // whose filters a thread reads before it goes on
  const int64_t parts = (index.channels() + kChannels - 1) / kChannels;
  parallel_for(blocks * parts, 1, [&](int64_t begin, int64_t end) {
    Floats points[kMostPoints];
    for (int64_t part = begin; part < end; ++part) {
      const int64_t last_filter = std::min((part / parts + 1) * kernel.block, index.filters());
      const int64_t last_channel = std::min((part % parts + 1) * kChannels, index.channels());
      for (int64_t c = part % parts * kChannels; c < last_channel; ++c)
        for (int64_t k = part / parts * kernel.block; k < last_filter; k += kFilters) {
          const int64_t known = c < channels ? filters : 0;
          kernel.tile == 2 ? transform_filters<2>(k, known, c, channels, weights, points)
                           : transform_filters<4>(k, known, c, channels, weights, points);
          for (int64_t p = 0; p < kernel.points; ++p) std::memcpy(u + index.at(p, c, k), &points[p], sizeof(Floats));
        }
    }
  });
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
