#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"
#include "planish/kernels/cpu/float_epilogue/epilogue.h"

namespace planish::kernels {

/// Numbers in memory, in one of the two types that a product of bfloat16 factors reads and writes beside them.
struct FloatOrBf16 {
  const void* data = nullptr;  ///< may be null: there are none
  bool wide = false;           ///< f32; otherwise the bits of bfloat16
};

/// C = act(A B + bias + residual) with A and B in bfloat16 and sums in f32: A [m, k] with rows a_row apart, C [m, n]
/// with rows c_row apart, B packed by pack_bf16_weights.
struct Bf16Problem {
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  const uint16_t* a = nullptr;
  int64_t a_row = 0;
  const uint16_t* weights = nullptr;
  void* c = nullptr;
  int64_t c_row = 0;
  bool c_wide = false;   ///< C and the residual in f32
  FloatOrBf16 bias;      ///< one per column
  FloatOrBf16 residual;  ///< laid out like C
  FloatEpilogue act;     ///< its activation and `residual_last`; its pointers are not used
};

/// The part of the work that one call does, and how it is cut: `chunk` rows at a time, and for these `depth` numbers of
/// each at a time. Between two depths the sums wait in `sums`.
struct Bf16Part {
  int64_t row = 0;
  int64_t rows = 0;
  int64_t panel = 0;  ///< first panel of columns
  int64_t panels = 0;
  int64_t depth = 0;      ///< a multiple of depth_step(k)
  int64_t chunk = 0;      ///< a multiple of the kernel's rows
  float* sums = nullptr;  ///< chunk * kBf16Panel floats, at the beginning of a cache line
};

/// Columns of a packed panel.
constexpr int64_t kBf16Panel = 32;

struct Bf16GemmKernel {
  std::string_view name;
  Isa isa;
  int64_t rows;  ///< rows per step
  /// How many numbers of a row are taken at a time; 0: the kernel has no way to sum k of them.
  int64_t (*depth_step)(int64_t k);
  void (*run)(const Bf16Problem& p, const Bf16Part& part);
};

/// Fastest first; the last runs everywhere and sums every even k.
std::span<const Bf16GemmKernel> bf16_gemm_kernels();
/// The fastest that this processor has for sums of k numbers, an even number.
const Bf16GemmKernel& best_bf16_gemm_kernel(int64_t k);

/// Numbers that pack_bf16_weights writes: panels of [k / 2][kBf16Panel][2], padded with zeros. Every kernel reads the
/// same format: pairs of one column side by side are what the products of both instruction sets take.
int64_t bf16_weights_size(int64_t k, int64_t n);
/// B as b[i * k_stride + j * n_stride]; k is even.
void pack_bf16_weights(int64_t k, int64_t n, const uint16_t* b, int64_t k_stride, int64_t n_stride, uint16_t* packed);
/// One panel for an operand that no file keeps, faster: `n` columns of B at most kBf16Panel, each of which is k numbers
/// in a row, `row` apart; k is even.
void pack_bf16_columns(int64_t k, int64_t n, const uint16_t* b, int64_t row, uint16_t* packed);
/// The same of `k` rows of B, `row` apart, with rows of zeros behind them up to `padded_k`, an even number.
void pack_bf16_rows(int64_t k, int64_t padded_k, int64_t n, const uint16_t* b, int64_t row, uint16_t* packed);
/// The inverse of pack_bf16_weights.
void unpack_bf16_weights(int64_t k, int64_t n, const uint16_t* packed, uint16_t* b, int64_t k_stride, int64_t n_stride);

}  // namespace planish::kernels
