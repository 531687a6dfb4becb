#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"
#include "planish/kernels/cpu/float_epilogue/epilogue.h"

namespace planish::kernels {

/// A convolution as products of pixels with panels of packed weights, straight from the image: the k-th number of a
/// tap is `k` floats behind the pixel that the tap looks at, and neighbouring output pixels look at pixels that lie
/// evenly apart. Taps beyond the border are left out. Strides in floats.
struct PanelConvProblem {
  int64_t in_h = 1, in_w = 1, out_h = 1, out_w = 1;
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t dilation_h = 1, dilation_w = 1;
  int64_t pad_top = 0, pad_left = 0;
  /// Channels of a pixel: `chunks` pieces of `chunk` contiguous floats, `x_chunk` apart; the last may be shorter.
  int64_t chunk = 0, last_chunk = 0, chunks = 1, x_chunk = 0;
  int64_t x_image = 0, x_row = 0, x_pixel = 0;
  /// Filters of a pixel: vectors of the kernel's width, `y_vector` apart; the last may be cut short.
  int64_t filters = 0;
  bool whole_vectors = false;  ///< filters are stored up to a multiple of the width (blocked layouts)
  int64_t y_vector = 0;
  int64_t y_image = 0, y_row = 0, y_pixel = 0;

  [[nodiscard]] int64_t taps() const { return kernel_h * kernel_w; }
  [[nodiscard]] int64_t channels() const { return (chunks - 1) * chunk + last_chunk; }
};

/// The part of the work that one call does: output pixels [pixel, pixel + pixels), counted over all images, of a panel
/// of `vectors` vectors of filters.
struct PanelConvPart {
  int64_t pixel = 0, pixels = 0;
  int64_t vector = 0, vectors = 0;
  /// Weights of the next part, to be brought into the second-level cache meanwhile; nullptr: none.
  const float* later = nullptr;
  int64_t later_floats = 0;
  /// Rows of taps, of which the window may have fewer. Parts behind the first add to the sums that the ones before left
  /// in the output, and the one with the last row applies the epilogue.
  int64_t tap_row = 0, last_tap_row = INT64_MAX;
};

struct PanelConvKernel {
  std::string_view name;
  Isa isa;
  int64_t width;           ///< floats per vector
  int64_t vectors;         ///< of filters per panel, at most: for one pixel, and windows over short lines
  int64_t window_vectors;  ///< for windows over long lines; panels of any number up to this one are read
  /// `weights` points at the panel: [tap][channel][filters of the panel].
  void (*run)(const PanelConvProblem& p, const PanelConvPart& part, const float* x, const float* weights,
              const FloatEpilogue& epilogue, float* y);
};

/// Fastest first; the last row runs everywhere.
std::span<const PanelConvKernel> panel_conv_kernels();
const PanelConvKernel& best_panel_conv_kernel();

/// How filters are dealt out to panels: evenly, so that no panel is much narrower than the others, and where there are
/// several, to an even number of them, which an even number of threads can share.
struct Panels {
  int64_t vectors = 0;  ///< in all
  int64_t count = 0;

  Panels(int64_t filters, int64_t width, int64_t most)
      : vectors((filters + width - 1) / width), count((vectors + most - 1) / most) {
    constexpr int64_t kLeast = 2;  // vectors; narrower panels leave the loads no room beside the multiply-adds
    if (count > 1 && count % 2 == 1 && vectors >= kLeast * (count + 1)) ++count;
  }
  /// First vector of panel `i`; panel `count` begins behind the last.
  [[nodiscard]] int64_t begin(int64_t i) const { return vectors * i / count; }
};

}  // namespace planish::kernels
