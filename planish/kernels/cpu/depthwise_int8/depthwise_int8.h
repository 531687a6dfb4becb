#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "planish/base/isa.h"
#include "planish/kernels/cpu/quantized_epilogue/epilogue.h"

namespace planish::kernels {

// Depthwise convolutions of 8-bit integers with exact 32-bit sums, over channels-last images. Instructions that add
// products of neighbouring bytes want the taps of a channel side by side: the lines under the window are interleaved
// once per input column, [channel][line], and serve all output pixels whose windows contain the column. A group of
// lines is often larger than the window; the lines left over serve output lines further down, with weights that are
// moved down likewise.

/// Per axis: output position p looks at input positions p * stride - pad + r * dilation.
struct DepthwiseShape {
  int64_t images = 1;
  int64_t channels = 1;
  int64_t in_h = 1;
  int64_t in_w = 1;
  int64_t out_h = 1;
  int64_t out_w = 1;
  int64_t kernel_h = 1;
  int64_t kernel_w = 1;
  int64_t stride_h = 1;
  int64_t stride_w = 1;
  int64_t dilation_h = 1;
  int64_t dilation_w = 1;
  int64_t pad_top = 0;
  int64_t pad_left = 0;
};

/// Weights are [block of channels][column][group of lines][channel][line of the group], zero beyond the window.
struct DepthwiseFormat {
  int32_t depth = 4;   ///< lines per group
  int32_t block = 64;  ///< channels per block
  bool operator==(const DepthwiseFormat&) const = default;
};

struct DepthwiseTask;

/// One row of the table: inner loops for an instruction set.
struct DepthwiseInt8Kernel {
  std::string_view name;
  Isa isa = Isa::baseline;
  DepthwiseFormat format;
  int32_t elem_bytes = 1;  ///< of an interleaved element
  /// See IgemmKernel::pair_limit.
  int32_t pair_limit = 0;
  void (*run)(const DepthwiseTask& task) = nullptr;
};

/// Fastest first; the last row runs everywhere.
std::span<const DepthwiseInt8Kernel> depthwise_int8_kernels();
/// True when the row's sums are exact for inputs, as it reads them, of at most `max_input` and weights of which two
/// neighbours in a column have at most `max_pair` together (pair_magnitude).
bool depthwise_is_exact(const DepthwiseInt8Kernel& kernel, int32_t max_input, int32_t max_pair = 256);
/// False when the window is so wide that its columns do not fit the interleaving buffer.
bool depthwise_fits(const DepthwiseShape& shape, const DepthwiseInt8Kernel& kernel);

/// Bytes of packed weights: the weights, then one i32 per channel, the sum of its weights.
size_t depthwise_packed_bytes(const DepthwiseShape& shape, const DepthwiseFormat& format);
/// Packs weights [channels, kernel_h, kernel_w].
void depthwise_pack(const DepthwiseShape& shape, const DepthwiseFormat& format, const int8_t* weights, int8_t* packed);
/// Inverse of depthwise_pack.
void depthwise_unpack(const DepthwiseShape& shape, const DepthwiseFormat& format, const int8_t* packed,
                      int8_t* weights);

/// The largest magnitude of the sum of two weights one above the other, each counted without its sign.
int32_t depthwise_max_pair(const DepthwiseShape& shape, const DepthwiseFormat& format, const int8_t* packed);

/// What is decided before running.
struct DepthwisePlan {
  DepthwiseShape shape;
  const DepthwiseInt8Kernel* kernel = nullptr;
  bool is_signed = true;
  uint8_t shift = 0;          ///< added to each byte on the way: makes i8 into u8
  int32_t zero = 0;           ///< value of padding, as in the input
  int64_t groups = 1;         ///< groups of lines
  int64_t chunk = 1;          ///< output pixels per pass over the interleaving buffer
  std::vector<int64_t> taps;  ///< offsets of (column, group of lines) in the buffer, in elements
  std::vector<int32_t> start;
  int64_t pass_lines = 1;             ///< output lines per interleaving
  std::vector<int8_t> lower_weights;  ///< for the lines of a pass after the first
  int64_t weight_bytes = 0;           ///< of one of them
};

/// `low`: no i8 value, nor `zero`, is below. `zero` is the value that means 0.
DepthwisePlan plan_depthwise_int8(const DepthwiseShape& shape, const DepthwiseInt8Kernel& kernel, bool is_signed,
                                  int32_t low, int32_t zero, const int8_t* packed);

/// Runs on several threads. x: [images, in_h, in_w, channels] bytes; epilogue.y likewise.
void run_depthwise_int8(const DepthwisePlan& plan, const void* x, const int8_t* packed,
                        const QuantizedEpilogue& epilogue);

/// The part of one thread: blocks of channels in passes over lines, from begin to end. Threads share lines, as they do
/// in the products around: what a thread reads is what it wrote before.
struct DepthwiseTask {
  const uint8_t* x = nullptr;
  const int8_t* weights = nullptr;
  const QuantizedEpilogue* epilogue = nullptr;
  int64_t begin = 0;
  int64_t end = 0;
  // The fields of the plan: files for one instruction set include no inline code of std::vector.
  const int64_t* taps = nullptr;
  int64_t tap_count = 0;
  const int32_t* start = nullptr;
  int64_t pass_lines = 1;
  const int8_t* lower_weights = nullptr;
  int64_t weight_bytes = 0;
  DepthwiseShape shape;
  bool is_signed = true;
  uint8_t shift = 0;
  int32_t zero = 0;
  int64_t groups = 1;
  int64_t chunk = 1;
};

/// Bytes of the interleaving buffer, on the stack of each thread.
inline constexpr int64_t kDepthwiseBuffer = 32768;
/// Output pixels of a line that are computed at a time, at most.
inline constexpr int64_t kDepthwisePixels = 28;

}  // namespace planish::kernels
