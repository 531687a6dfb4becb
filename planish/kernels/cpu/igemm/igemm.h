#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "planish/base/isa.h"
#include "planish/kernels/cpu/quantized_epilogue/epilogue.h"

namespace planish::kernels {

// Products of 8-bit integers with exact 32-bit sums: convolutions over channels-last images and, as their 1x1 case,
// matrix products. The pixels of the output are the rows of the product, output channels its columns, and the bytes
// under the window its inner dimension. Nothing is unrolled in memory: taps that follow each other in a row of the
// window follow each other in a channels-last image, so that a row of the window is one run of bytes.

/// Geometry of a convolution; a matrix product [M,K] x [K,N] has out_h = in_h = M rows of one pixel and channels = K.
/// Per axis: output position p looks at input positions p * stride - pad + r * dilation.
struct IgemmShape {
  int64_t images = 1;
  int64_t in_h = 1;
  int64_t in_w = 1;
  int64_t out_h = 1;
  int64_t out_w = 1;
  int64_t groups = 1;
  int64_t channels = 1;  ///< input channels per group
  int64_t outputs = 1;   ///< output channels per group
  int64_t kernel_h = 1;
  int64_t kernel_w = 1;
  int64_t stride_h = 1;
  int64_t stride_w = 1;
  int64_t dilation_h = 1;
  int64_t dilation_w = 1;
  int64_t pad_top = 0;
  int64_t pad_left = 0;

  [[nodiscard]] int64_t weights() const { return groups * outputs * kernel_h * kernel_w * channels; }
  /// True when a row of the window is one run of input bytes, so that it is also one run of weights.
  [[nodiscard]] bool joined_taps() const { return groups == 1 && dilation_w == 1; }
};

/// Input as the inner loops read it: bytes without sign, sign-extended to 16 bits, or bytes as they are.
enum class IgemmInput : uint8_t { u8, i16, bytes };

struct IgemmTask;

/// How a variant wants weights: per group and block of columns [run][step][column][depth], where a run is a row of the
/// window (or one tap, see joined_taps) padded with zeros to whole steps. The last block is narrower, a multiple of
/// `lanes` columns.
struct IgemmFormat {
  int32_t depth = 4;   ///< inner elements per step
  int32_t lanes = 16;  ///< columns per vector
  int32_t block = 64;  ///< columns per block
  bool operator==(const IgemmFormat&) const = default;
};

/// One row of the table: inner loops for an instruction set.
struct IgemmKernel {
  std::string_view name;
  Isa isa = Isa::baseline;
  IgemmInput input = IgemmInput::u8;
  IgemmFormat format;
  /// Largest magnitude of the sum of two neighbouring products that its 16-bit arithmetic holds; 0: no limit.
  int32_t pair_limit = 0;
  void (*run)(const IgemmTask& task) = nullptr;
  /// The shapes that it multiplies; nullptr: all.
  bool (*takes)(const IgemmShape& shape) = nullptr;
};

/// Fastest first; the last row runs everywhere.
std::span<const IgemmKernel> igemm_kernels();
/// The first row that this machine has, that takes the shape and is exact for inputs up to `max_input` (see
/// igemm_max_input), whatever the weights are.
const IgemmKernel& best_igemm_kernel(const IgemmShape& shape, int32_t max_input);
/// Twice the largest magnitude of a weight.
inline constexpr int32_t kAnyPair = 256;
/// True when the row's sums are exact for inputs up to `max_input` and weights whose neighbours have at most
/// `max_pair` together (pair_magnitude).
bool igemm_is_exact(const IgemmKernel& kernel, int32_t max_input, int32_t max_pair = kAnyPair);

/// Bytes of packed weights: the weights, then one i32 per output channel, the sum of its weights.
size_t igemm_packed_bytes(const IgemmShape& shape, const IgemmFormat& format);
/// Packs weights [groups*outputs, channels, kernel_h, kernel_w]. `packed` has igemm_packed_bytes.
void igemm_pack(const IgemmShape& shape, const IgemmFormat& format, const int8_t* weights, int8_t* packed);
/// Inverse of igemm_pack.
void igemm_unpack(const IgemmShape& shape, const IgemmFormat& format, const int8_t* packed, int8_t* weights);

/// The largest pair_magnitude() of the packed weights.
int32_t igemm_max_pair(const IgemmShape& shape, const IgemmFormat& format, const int8_t* packed);

/// Values of the input and what is known about them.
struct IgemmInputType {
  bool is_signed = true;
  bool never_negative = false;  ///< i8 whose values are all 0..127
  int32_t zero = 0;             ///< the value that means 0; padding has it
  int32_t low = -128;           ///< i8: no value is below, nor is `zero`
};
/// The largest value of the input as kernels read it: without sign, moved up by as little as makes it so.
int32_t igemm_max_input(const IgemmInputType& type);

/// Everything that is decided before running: how the input is read, how the work is cut.
struct IgemmPlan {
  IgemmShape shape;
  const IgemmKernel* kernel = nullptr;
  IgemmInputType type;
  std::vector<int64_t> runs;  ///< offsets, in elements from the first tap, of the window's runs
  int64_t run_steps = 0;      ///< steps of depth elements per run
  int64_t padded_w = 0;       ///< pixels of a line as the inner loops see it
  bool in_place = false;      ///< read from the input itself instead of a copied band
  uint8_t shift = 0;          ///< added to each byte on the way: makes i8 into u8
  int32_t fill = 0;           ///< what padding becomes
  int64_t band_lines = 1;     ///< output lines per band: what stays in the cache while all columns pass
  int64_t pixel_parts = 1;    ///< threads by rows of the product
  int64_t block_parts = 1;    ///< threads by columns
  size_t part_scratch_bytes = 0;
  /// Start values of the sums: minus the zero point times the sum of the weights; padded by kChannelPadding.
  std::vector<int32_t> start;

  [[nodiscard]] size_t scratch_bytes() const {
    return part_scratch_bytes * static_cast<size_t>(pixel_parts * block_parts);
  }
};

/// True when the row multiplies the shape.
bool igemm_takes(const IgemmKernel& kernel, const IgemmShape& shape);

/// Plans a run of `kernel`, which must take the shape and be exact for the type. `packed` is in the kernel's format.
IgemmPlan plan_igemm(const IgemmShape& shape, const IgemmKernel& kernel, const IgemmInputType& type,
                     const int8_t* packed, int threads);

/// Gives the plan another zero point of the input: one that only the run knows.
void set_igemm_zero(IgemmPlan& plan, int32_t zero, const int8_t* packed);

/// Runs on several threads. x: [images, in_h, in_w, groups*channels] bytes; epilogue.y likewise with out and outputs.
/// `scratch` has plan.scratch_bytes(), 64-byte aligned.
void run_igemm(const IgemmPlan& plan, const void* x, const int8_t* packed, const QuantizedEpilogue& epilogue,
               void* scratch);

/// The part of a run that one thread does: pixels and blocks of columns (counted over all groups) from begin to end.
struct IgemmTask {
  IgemmShape shape;
  const int64_t* runs = nullptr;
  int64_t run_count = 0;
  int64_t run_steps = 0;
  int64_t padded_w = 0;
  bool in_place = false;
  bool is_signed = false;
  uint8_t shift = 0;
  int32_t fill = 0;
  int64_t band_lines = 1;
  const uint8_t* x = nullptr;
  const int8_t* weights = nullptr;
  const int32_t* start = nullptr;
  const QuantizedEpilogue* epilogue = nullptr;
  void* scratch = nullptr;
  int64_t pixel_begin = 0;
  int64_t pixel_end = 0;
  int64_t block_begin = 0;
  int64_t block_end = 0;
};

}  // namespace planish::kernels
