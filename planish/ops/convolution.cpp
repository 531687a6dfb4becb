#include "planish/ops/convolution.h"

#include <algorithm>
#include <vector>

#include "planish/ops/gemm.h"

namespace planish {
namespace {

/// Output positions whose patches are gathered at a time; bounds the patch matrix to C/G * taps * this.
constexpr int64_t kPositions = 768;
/// Below this many output channels per group a matrix product would mostly multiply padding.
constexpr int64_t kFewChannels = 4;

/// Counts through the positions of a row-major box.
bool next_index(std::vector<int64_t>& index, std::span<const int64_t> dims) {
  for (size_t a = dims.size(); a-- > 0;) {
    if (++index[a] < dims[a]) return true;
    index[a] = 0;
  }
  return false;
}

/// One kernel tap: its coordinates, and the outputs on the last axis that see input through it.
class Tap {
 public:
  Tap(const WindowGeometry& g, const std::vector<int64_t>& index)
      : g_(g), index_(index), last_(g.axes() - 1), range_(g.valid_outputs(last_, index[last_])) {}

  /// Offset of the input row that output row `row` (coordinates of all axes but the last) reads through this tap, plus
  /// the tap's shift on the last axis; false when the row lies in the padding.
  bool input_row(std::span<const int64_t> row, int64_t& offset) const {
    offset = 0;
    for (size_t a = 0; a < last_; ++a) {
      const int64_t i = row[a] * g_.strides[a] - g_.pads_begin[a] + index_[a] * g_.dilations[a];
      if (i < 0 || i >= g_.in[a]) return false;
      offset = offset * g_.in[a] + i;
    }
    offset = offset * g_.in[last_] - g_.pads_begin[last_] + index_[last_] * g_.dilations[last_];
    return true;
  }
  [[nodiscard]] WindowGeometry::Range range() const { return range_; }

 private:
  const WindowGeometry& g_;
  const std::vector<int64_t>& index_;
  size_t last_;
  WindowGeometry::Range range_;
};

std::vector<int64_t> row_coordinates(const WindowGeometry& g, int64_t row) {
  std::vector<int64_t> index(g.axes() - 1);
  for (size_t a = index.size(); a-- > 0;) {
    index[a] = row % g.out[a];
    row /= g.out[a];
  }
  return index;
}

/// patches[channels * taps, end - begin] = what each tap sees at the flat output positions [begin, end).
template <typename T>
void gather_patches(const WindowGeometry& g, const T* x, int64_t channels, int64_t begin, int64_t end, T* patches) {
  const int64_t in_size = element_count(g.in);
  const int64_t width = g.out.back();
  const int64_t stride = g.strides.back();
  const std::span<const int64_t> outer(g.out.data(), g.axes() - 1);
  for (int64_t c = 0; c < channels; ++c) {
    std::vector<int64_t> index(g.axes(), 0);
    do {
      const Tap tap(g, index);
      std::vector<int64_t> row = row_coordinates(g, begin / width);
      for (int64_t p = begin; p < end;) {
        const int64_t q0 = p % width;
        const int64_t q1 = std::min(width, q0 + end - p);
        T* to = patches + (p - begin) - q0;
        int64_t offset = 0;
        if (tap.input_row(row, offset)) {
          const int64_t from = std::clamp(tap.range().begin, q0, q1);
          const int64_t until = std::clamp(tap.range().end, from, q1);
          std::fill(to + q0, to + from, T{});
          const T* in = x + c * in_size + offset;
          for (int64_t q = from; q < until; ++q) to[q] = in[q * stride];
          std::fill(to + until, to + q1, T{});
        } else {
          std::fill(to + q0, to + q1, T{});
        }
        p += q1 - q0;
        next_index(row, outer);
      }
      patches += end - begin;
    } while (next_index(index, g.kernel));
  }
}

/// One image and group by matrix products: w[k, c * taps] times the patch matrix.
template <typename T>
void convolve_by_gemm(const WindowGeometry& g, int64_t c, int64_t k, const T* x, const T* w, T* y) {
  const int64_t out_size = element_count(g.out);
  const int64_t depth = c * g.taps();
  const int64_t tile = std::min(kPositions, out_size);
  std::vector<T> patches(static_cast<size_t>(depth * tile));
  for (int64_t begin = 0; begin < out_size; begin += tile) {
    const int64_t end = std::min(out_size, begin + tile);
    gather_patches(g, x, c, begin, end, patches.data());
    gemm<T>(k, end - begin, depth, {w, depth, 1}, {patches.data(), end - begin, 1}, y + begin, out_size);
  }
}

/// One input channel and one output channel, tap by tap.
template <typename T>
void convolve_plane(const WindowGeometry& g, const T* x, const T* w, T* y) {
  const int64_t width = g.out.back();
  const int64_t stride = g.strides.back();
  const std::span<const int64_t> outer(g.out.data(), g.axes() - 1);
  std::vector<int64_t> index(g.axes(), 0);
  do {
    const Tap tap(g, index);
    const T weight = *w++;
    std::vector<int64_t> row(outer.size(), 0);
    T* out = y;
    do {
      int64_t offset = 0;
      if (tap.input_row(row, offset)) {
        const T* in = x + offset;
        if (stride == 1)
          for (int64_t q = tap.range().begin; q < tap.range().end; ++q) out[q] += weight * in[q];
        else
          for (int64_t q = tap.range().begin; q < tap.range().end; ++q) out[q] += weight * in[q * stride];
      }
      out += width;
    } while (next_index(row, outer));
  } while (next_index(index, g.kernel));
}

template <typename T>
void fill_with_bias(const T* bias, int64_t n, int64_t k, int64_t size, T* y) {
  for (int64_t i = 0; i < n * k; ++i) std::fill_n(y + i * size, size, bias == nullptr ? T{} : bias[i % k]);
}

}  // namespace

template <typename T>
void convolve(const ConvShape& s, const T* x, const T* w, const T* bias, T* y) {
  const WindowGeometry& g = s.window;
  const int64_t in_size = element_count(g.in);
  const int64_t out_size = element_count(g.out);
  const int64_t c = s.c / s.groups;
  const int64_t k = s.k / s.groups;
  fill_with_bias(bias, s.n, s.k, out_size, y);
  for (int64_t image = 0; image < s.n; ++image) {
    for (int64_t group = 0; group < s.groups; ++group) {
      const T* in = x + (image * s.c + group * c) * in_size;
      const T* weight = w + group * k * c * g.taps();
      T* out = y + (image * s.k + group * k) * out_size;
      if (k >= kFewChannels) {
        convolve_by_gemm(g, c, k, in, weight, out);
        continue;
      }
      for (int64_t o = 0; o < k; ++o)
        for (int64_t i = 0; i < c; ++i)
          convolve_plane(g, in + i * in_size, weight + (o * c + i) * g.taps(), out + o * out_size);
    }
  }
}

template <typename T>
void convolve_transposed(const ConvShape& s, const T* x, const T* w, const T* bias, T* y) {
  const WindowGeometry& g = s.window;
  const int64_t y_size = element_count(g.in);
  const int64_t x_size = element_count(g.out);
  const int64_t taps = g.taps();
  const int64_t c = s.c / s.groups;
  const int64_t k = s.k / s.groups;
  const std::span<const int64_t> outer(g.out.data(), g.axes() - 1);
  std::vector<T> product(static_cast<size_t>(taps * x_size));
  fill_with_bias(bias, s.n, s.k, y_size, y);
  for (int64_t image = 0; image < s.n; ++image) {
    for (int64_t o = 0; o < s.k; ++o) {
      const int64_t group = o / k;
      const T* in = x + (image * s.c + group * c) * x_size;  // [C/G, x_size]
      const T* weight = w + (group * c * k + o % k) * taps;  // [C/G, taps], rows K/G * taps apart
      std::fill(product.begin(), product.end(), T{});
      gemm<T>(taps, x_size, c, {weight, 1, k * taps}, {in, x_size, 1}, product.data(), x_size);
      // Every tap's plane is added where that tap would have read in the forward convolution.
      T* out = y + (image * s.k + o) * y_size;
      const T* from = product.data();
      std::vector<int64_t> index(g.axes(), 0);
      do {
        const Tap tap(g, index);
        std::vector<int64_t> row(outer.size(), 0);
        do {
          int64_t offset = 0;
          if (tap.input_row(row, offset))
            for (int64_t q = tap.range().begin; q < tap.range().end; ++q) out[offset + q * g.strides.back()] += from[q];
          from += g.out.back();
        } while (next_index(row, outer));
      } while (next_index(index, g.kernel));
    }
  }
}

template void convolve(const ConvShape&, const float*, const float*, const float*, float*);
template void convolve(const ConvShape&, const double*, const double*, const double*, double*);
template void convolve(const ConvShape&, const uint32_t*, const uint32_t*, const uint32_t*, uint32_t*);
template void convolve_transposed(const ConvShape&, const float*, const float*, const float*, float*);
template void convolve_transposed(const ConvShape&, const double*, const double*, const double*, double*);

}  // namespace planish
