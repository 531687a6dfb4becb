#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"
#include "planish/kernels/cpu/pointwise/pointwise.h"

namespace planish::kernels {

/// What happens to a sum before it is stored: + bias, + residual, activation (residual first, or last).
struct GemmEpilogue {
  const float* bias = nullptr;      ///< one per column; may be null
  const float* residual = nullptr;  ///< laid out like C; may be null
  bool residual_last = false;
  PointwiseFn activate = nullptr;  ///< may be null; the GELU by erf is applied in registers instead
  PointwiseOp op = PointwiseOp::identity;
  float alpha = 0;
  float beta = 0;
};

/// C = epilogue(A B): A [m, k] with rows a_row apart, C [m, n] with rows c_row apart, B packed by pack_gemm_weights.
struct GemmProblem {
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  const float* a = nullptr;
  int64_t a_row = 0;
  const float* weights = nullptr;
  float* c = nullptr;
  int64_t c_row = 0;
  GemmEpilogue epilogue;
};

/// The part of the work that one call does, and how it is cut: `chunk` rows at a time (an even number), and for these
/// `depth` rows of packed weights at a time. Between two depths the sums wait in C.
struct GemmPart {
  int64_t row = 0;
  int64_t rows = 0;
  int64_t panel = 0;  ///< first panel of columns
  int64_t panels = 0;
  int64_t depth = 0;
  int64_t chunk = 0;
  float* scratch = nullptr;  ///< gemm_scratch_size() floats
};

/// A matrix product with packed weights, in one of two algorithms. `products` is 1 for the direct one. It is 7 for one
/// step of fast multiplication: rows, columns and the summed dimension are each paired, and seven products of sums of
/// quadrants replace eight of quadrants. One sum of B's quadrants is packed in the place of a quadrant that is needed
/// for nothing else. The other three are made one panel and depth at a time, because reading seven quarters of the
/// weights from memory costs more than making them; sums of A's likewise, and C's quadrants are summed in registers,
/// where most products go on from the one before. Sources: Strassen 1969; Winograd's form of it, with fewer sums
/// (Higham 2002, section 23.1); Karstadt and Schwartz 2017 ("Matrix Multiplication, a Little Faster") for other forms
/// of the operands that need fewer; Huang, Smith, Henry and van de Geijn 2016 ("Strassen's Algorithm Reloaded") for
/// making the sums inside the blocking. One step multiplies the bound of the rounding error by less than five (Higham,
/// section 23.2.2), far from what float kernels are allowed.
struct GemmKernel {
  std::string_view name;
  Isa isa;
  int products;
  int64_t rows;   ///< rows per step
  int64_t width;  ///< columns of one packed matrix of weights
  int64_t panel;  ///< columns of C per panel: width, or a pair of them
  void (*run)(const GemmProblem& p, const GemmPart& part);
};

/// Fastest first for each number of products; the last row of each runs everywhere.
std::span<const GemmKernel> gemm_kernels();
const GemmKernel& best_gemm_kernel(int products);

/// Floats of GemmPart::scratch.
int64_t gemm_scratch_size(const GemmKernel& kernel, const GemmPart& part);

/// Floats that pack_gemm_weights writes: panels of [k][width], padded with zeros to whole panels of C.
int64_t gemm_weights_size(const GemmKernel& kernel, int64_t k, int64_t n);
/// B as b[i * k_stride + j * n_stride]. A product by seven products needs an even k.
void pack_gemm_weights(const GemmKernel& kernel, int64_t k, int64_t n, const float* b, int64_t k_stride,
                       int64_t n_stride, float* packed);
/// The inverse of pack_gemm_weights; up to rounding where weights are packed for seven products, of which a quarter are
/// sums.
void unpack_gemm_weights(const GemmKernel& kernel, int64_t k, int64_t n, const float* packed, float* b,
                         int64_t k_stride, int64_t n_stride);

}  // namespace planish::kernels
