#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"
#include "planish/kernels/cpu/float_epilogue/epilogue.h"

namespace planish::kernels {

/// A 3x3 convolution of stride 1 as minimal filtering: an output tile of m x m pixels takes (m+2)^2 products instead of
/// 9 m^2 for each pair of channel and filter. Source: Lavin and Gray 2015, https://arxiv.org/abs/1509.09308.
struct WinogradProblem {
  int64_t channels = 0;  ///< multiple of the kernel's width
  int64_t filters = 0;   ///< multiple of the kernel's width
  int64_t in_h = 0;
  int64_t in_w = 0;
  int64_t out_h = 0;
  int64_t out_w = 0;
  int64_t pad_top = 0;
  int64_t pad_left = 0;
  int64_t tiles_h = 0;  ///< per image
  int64_t tiles_w = 0;
};

/// Images whose channels lie in vectors of the kernel's width. Strides in floats.
struct WinogradImages {
  int64_t image = 0;
  int64_t row = 0;
  int64_t pixel = 0;
  const int64_t* vectors = nullptr;  ///< where the i-th vector of channels of a pixel begins
};

/// Filters are worked on in blocks of at most `block` filters. V holds transformed tiles, [points][tiles][channels];
/// U transformed weights, by block [points][channels][filters of the block]; M products, [points][tiles][filters].
struct WinogradKernel {
  std::string_view name;
  Isa isa;
  int64_t tile;    ///< m
  int64_t width;   ///< floats per vector
  int64_t block;   ///< filters per block, a multiple of width
  int64_t rows;    ///< tiles that the product likes to have at a time
  int64_t points;  ///< (m+2)^2
  /// Tiles [first, first + tiles), counted over all images, into a V for `v_tiles` tiles (`v` points at the first).
  void (*transform_input)(const WinogradProblem& p, const WinogradImages& form, const float* x, int64_t first,
                          int64_t tiles, float* v, int64_t v_tiles);
  /// Products of one block: `u` points at the block, `filters` are its filters.
  void (*multiply)(const WinogradProblem& p, const float* u, const float* v, int64_t tiles, int64_t filters, float* m);
  /// Writes `filters` filters beginning with `first_filter` of the same tiles as transform_input.
  void (*transform_output)(const WinogradProblem& p, const WinogradImages& form, const float* m, int64_t first,
                           int64_t tiles, int64_t first_filter, int64_t filters, const FloatEpilogue& epilogue,
                           float* y);
};

/// All variants, for each tile size the fastest first; the last of each runs everywhere.
std::span<const WinogradKernel> winograd_kernels();
/// Floats of U for weights [filters][channels][3][3], both counts as they are before padding.
int64_t winograd_weights_size(const WinogradKernel& kernel, int64_t filters, int64_t channels);
/// Weights into U, channels and filters padded to the kernel's width with zeros.
void pack_winograd_weights(const WinogradKernel& kernel, int64_t filters, int64_t channels, const float* weights,
                           float* u);
/// The inverse, up to rounding. Runs on every machine, also where the kernel itself does not.
void unpack_winograd_weights(const WinogradKernel& kernel, int64_t filters, int64_t channels, const float* u,
                             float* weights);
/// The fastest variant with m = `tile` here; nullptr for an unknown tile size.
const WinogradKernel* best_winograd_kernel(int64_t tile);

}  // namespace planish::kernels
