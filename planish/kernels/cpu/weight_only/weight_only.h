#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"
#include "planish/kernels/cpu/gemm/gemm.h"

namespace planish::kernels {

/// Columns of a panel of packed weights, whatever the instruction set.
inline constexpr int64_t kWeightOnlyPanel = 16;

/// A matrix [k, n] of integers: w = (q - zero) * scale, with one scale and zero point per column for every `block`
/// rows. Packed, integers of 4 bits are unsigned with 8 in the middle, those of 8 bits signed around 0.
struct WeightOnlyShape {
  int64_t k = 0;
  int64_t n = 0;
  int64_t block = 0;   ///< rows that share a scale: a multiple of 8, or at least k
  int64_t bits = 8;    ///< 4 or 8
  bool zeros = false;  ///< zero points are stored, because some are not the middle

  [[nodiscard]] int64_t panels() const { return (n + kWeightOnlyPanel - 1) / kWeightOnlyPanel; }
  [[nodiscard]] int64_t blocks() const { return (k + block - 1) / block; }
  /// Bytes of a panel: of 4 bits [k / 8][16] words of eight rows each, lowest bits first; of 8 bits [k][16].
  [[nodiscard]] int64_t panel_bytes() const {
    return bits == 4 ? (k + 7) / 8 * 4 * kWeightOnlyPanel : k * kWeightOnlyPanel;
  }
};

/// C = epilogue(A W): A [m, k] with rows a_row apart, C [m, n] with rows c_row apart.
struct WeightOnlyProblem {
  int64_t m = 0;
  WeightOnlyShape shape;
  const float* a = nullptr;
  int64_t a_row = 0;
  const uint8_t* weights = nullptr;  ///< pack_weight_only()
  const float* scales = nullptr;     ///< [panels][blocks][16]
  const uint8_t* zeros = nullptr;    ///< [panels][blocks][16], distance from the lowest integer; read if shape.zeros
  float* c = nullptr;
  int64_t c_row = 0;
  GemmEpilogue epilogue;
  /// What weight_only_rows() made of A: rows as the kernels want them, and the sums that zero points are multiplied by.
  const float* rows = nullptr;  ///< [m][row_floats]
};

/// Floats per row of A that weight_only_rows() writes.
int64_t weight_only_row_floats(const WeightOnlyShape& shape);
/// Prepares rows `begin` to `end` of A: [row_floats] each at to + row * row_floats.
void weight_only_rows(const WeightOnlyProblem& p, int64_t begin, int64_t end, float* to);

/// A product with a few rows of A that reads weights of 4 or 8 bits and widens them in registers: where few rows leave
/// the processor waiting for weights, it waits for a quarter or an eighth of them.
struct WeightOnlyKernel {
  std::string_view name;
  Isa isa;
  int64_t panels;  ///< it works on so many panels at once; fewer are slower
  /// Columns of the panels from `panel` to `panel_end`, all rows.
  void (*run)(const WeightOnlyProblem& p, int64_t panel, int64_t panel_end);
};

/// Fastest first; the last row runs everywhere.
std::span<const WeightOnlyKernel> weight_only_kernels();
const WeightOnlyKernel& best_weight_only_kernel();

/// Integers as a graph holds them: 4 bits two to a byte (low half first), 8 bits one; element k * k_stride + j *
/// n_stride is row k, column j.
struct IntegerMatrix {
  const uint8_t* data = nullptr;
  bool is_signed = false;
  int64_t k_stride = 0;
  int64_t n_stride = 0;
};

/// Writes shape.panels() * shape.panel_bytes() bytes. Columns that do not exist hold the middle.
void pack_weight_only(const WeightOnlyShape& shape, const IntegerMatrix& w, uint8_t* packed);
/// The inverse, into w.data.
void unpack_weight_only(const WeightOnlyShape& shape, const uint8_t* packed, const IntegerMatrix& w, uint8_t* to);

}  // namespace planish::kernels
