#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "planish/base/isa.h"
#include "planish/kernels/cpu/depthwise_int8/depthwise_int8.h"
#include "planish/kernels/cpu/igemm/igemm.h"
#include "planish/kernels/cpu/quantized_epilogue/epilogue.h"

namespace planish::kernels {

// Three convolutions of 8-bit integers in a row, over channels-last images: any one, a depthwise one, and a 1x1 one
// ("inverted residual": the image between them has many more channels than those around it). What lies between them
// never becomes a tensor: of the first image four lines at a time are made, and all output lines under whose windows
// they are complete follow at once. Both images lie as the next inner loop reads them:
//   first:  [vector of channels][column][channel][line of the four], so that a column of a depthwise window is one
//           operand of the instruction that adds four products of bytes;
//   second: [line][four columns][four channels][column of the four][channel of the four], so that the product behind
//           broadcasts four channels of a pixel.
// Sums are exact; every layer rounds to bytes as it does alone.

struct InvertedResidualShape {
  IgemmShape expand;         ///< groups 1, no dilation
  DepthwiseShape depthwise;  ///< channels = expand.outputs; no dilation
  int64_t outputs = 1;       ///< of the 1x1 convolution
};

struct InvertedResidualTask;

/// One row of the table.
struct InvertedResidualKernel {
  std::string_view name;
  Isa isa = Isa::baseline;
  int32_t lanes = 16;          ///< channels of a vector
  IgemmFormat expand_format;   ///< of the first convolution's weights
  IgemmFormat project_format;  ///< of the last one's
  /// Largest magnitude of the sum of two neighbouring products that its 16-bit arithmetic holds; 0: no limit.
  int32_t pair_limit = 0;
  /// Where i8 moved up to u8 is too large for that, it is read as it is: its magnitude times weights that have its
  /// sign, which must not be -128.
  bool takes_signed = false;
  void (*run)(const InvertedResidualTask& task) = nullptr;
};

/// Fastest first. There may be none that this machine has.
std::span<const InvertedResidualKernel> inverted_residual_kernels();
/// True for windows that the rows' loops have: depthwise 3x3 and 5x5, stride 1 or 2, without dilation.
bool inverted_residual_fits(const InvertedResidualShape& shape);

/// Weights of the last convolution as a product, for igemm_pack.
IgemmShape project_shape(const InvertedResidualShape& shape);

/// The tensors in front of the three convolutions.
struct InvertedResidualTypes {
  IgemmInputType x;
  bool first_signed = false;  ///< bytes between the first and the second are i8; they stay within the task
  int32_t first_zero = 0;
  bool second_signed = false;
  int32_t second_zero = 0;
};

/// Weights: of the two products packed in the kernel's formats, of the depthwise convolution as they are.
struct InvertedResidualWeights {
  const int8_t* expand = nullptr;
  const int8_t* depthwise = nullptr;  ///< [channels, kernel_h, kernel_w]
  const int8_t* project = nullptr;
};

/// True when the row's sums are exact for these weights, whatever the image.
bool inverted_residual_is_exact(const InvertedResidualKernel& kernel, const InvertedResidualShape& shape,
                                const InvertedResidualTypes& types, const InvertedResidualWeights& weights);

/// What is decided before running.
struct InvertedResidualPlan {
  InvertedResidualShape shape;
  const InvertedResidualKernel* kernel = nullptr;
  InvertedResidualTypes types;
  uint8_t shift = 0;      ///< added to bytes of x: makes i8 into u8
  bool x_signed = false;  ///< x is read as i8
  bool in_place = false;  ///< lines of x are read where they are
  int64_t padded_w = 1;
  std::vector<int64_t> runs;
  int64_t run_steps = 0;
  std::vector<int32_t> expand_start;
  std::vector<int32_t> depthwise_start;
  std::vector<int32_t> project_start;
  /// [line of the four that a window begins at][vector][column][first four lines, next four][channel][line].
  std::vector<int8_t> depthwise_weights;
  int64_t vectors = 1;        ///< of channels between the convolutions
  int64_t first_columns = 1;  ///< of the first image, padding included
  int64_t quads = 1;          ///< groups of four output columns
  bool by_channel = false;    ///< threads share channels in the first two and pixels in the last; else they share lines
  int64_t parts = 1;          ///< threads
  int64_t line_parts = 1;     ///< parts of an image, when by lines
  size_t band_bytes = 0;      ///< copied lines of x
  size_t first_bytes = 0;
  size_t second_bytes = 0;  ///< of each part, or (by channel) of all

  [[nodiscard]] size_t scratch_bytes() const {
    const auto n = static_cast<size_t>(parts);
    return n * (band_bytes + first_bytes) + (by_channel ? 1 : n) * second_bytes;
  }
};

/// How threads share the work: what takes the least by the plan's own estimate, or as told.
enum class InvertedResidualSplit : uint8_t { best, lines, channels };

/// The kernel must be exact for the types and weights, which are copied where they are not used as they are.
InvertedResidualPlan plan_inverted_residual(const InvertedResidualShape& shape, const InvertedResidualKernel& kernel,
                                            const InvertedResidualTypes& types, const InvertedResidualWeights& weights,
                                            int threads, InvertedResidualSplit split = InvertedResidualSplit::best);

/// What follows the sums of the three. The first two are folded and within 32 bits, for bytes, without residual, and
/// their limits include the zero point; their `y` is not used.
struct InvertedResidualEpilogues {
  QuantizedEpilogue expand;
  QuantizedEpilogue depthwise;
  QuantizedEpilogue project;
};

/// Runs on several threads. x: [images, in_h, in_w, channels] bytes; epilogues.project.y likewise.
/// `scratch` has plan.scratch_bytes(), 64-byte aligned.
void run_inverted_residual(const InvertedResidualPlan& plan, const void* x, const int8_t* expand, const int8_t* project,
                           const InvertedResidualEpilogues& epilogues, void* scratch);

/// The part of one thread. The fields of the plan, without inline code of std::vector.
struct InvertedResidualTask {
  InvertedResidualShape shape;
  const InvertedResidualEpilogues* epilogues = nullptr;
  const uint8_t* x = nullptr;
  const int8_t* expand = nullptr;
  const int8_t* depthwise = nullptr;
  const int8_t* project = nullptr;
  const int32_t* expand_start = nullptr;
  const int32_t* depthwise_start = nullptr;
  const int32_t* project_start = nullptr;
  const int64_t* runs = nullptr;
  int64_t run_count = 0;
  int64_t run_steps = 0;
  int64_t padded_w = 1;
  int64_t vectors = 1;
  int64_t first_columns = 1;
  int64_t quads = 1;
  uint8_t shift = 0;
  uint8_t x_fill = 0;
  bool x_signed = false;
  bool in_place = false;
  int32_t first_zero = 0;  ///< of the images between, as bytes without sign
  int32_t second_zero = 0;
  uint8_t* band = nullptr;
  uint8_t* first = nullptr;
  uint8_t* second = nullptr;
  bool makes_second = true;   ///< runs the first two convolutions
  bool makes_output = true;   ///< runs the last one
  bool keeps_second = false;  ///< `second` is the whole image, not the lines at hand
  int64_t image = 0;
  int64_t line_begin = 0;  ///< output lines
  int64_t line_end = 0;
  int64_t block_begin = 0;  ///< blocks of channels between
  int64_t block_end = 0;
  int64_t pixel_begin = 0;  ///< output pixels of the image, where only the last convolution runs
  int64_t pixel_end = 0;
};

}  // namespace planish::kernels
