#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"
#include "planish/kernels/cpu/float_epilogue/epilogue.h"

namespace planish::kernels {

/// A convolution of few planes, such as a network's first one, over lines that have room for all taps: padding is part
/// of them. Strides in floats.
struct StemConvProblem {
  /// Where the numbers lie that a pixel is made from, in the order of the weights, from the first of them on.
  const int32_t* offsets = nullptr;
  int64_t numbers = 0;
  int64_t stride_w = 1;  ///< up to kStemMostStride
  int64_t out_w = 1;
  int64_t filters = 0;
  bool whole_vectors = false;  ///< filters are stored up to a multiple of the width (blocked layouts)
  int64_t y_pixel = 0, y_vector = 0;
};

constexpr int64_t kStemMostStride = 2;

/// `vectors` vectors of filters from the `vector`-th on, which are one panel of the weights.
struct StemConvPart {
  int64_t vector = 0, vectors = 0;
};

struct StemConvKernel {
  std::string_view name;
  Isa isa;
  int64_t width;    ///< floats per vector
  int64_t vectors;  ///< of filters per panel, at most
  /// One output line: `x` is where its first pixel's first tap looks, in the first plane, and `y` the first pixel of
  /// the panel. `weights`: the panel, [number][filters of the panel]. Pixels may be written twice: no residual.
  void (*run)(const StemConvProblem& p, const StemConvPart& part, const float* x, const float* weights,
              const FloatEpilogue& epilogue, float* y);
};

/// Fastest first; the last row runs everywhere.
std::span<const StemConvKernel> stem_conv_kernels();
const StemConvKernel& best_stem_conv_kernel();

}  // namespace planish::kernels
