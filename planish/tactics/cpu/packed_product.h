#pragma once

// What the matrix products with packed weights share: the node as a product, and how its work is cut for threads.

#include <cstdint>

#include "planish/tactics/tactic.h"

namespace planish {

/// Inputs of planish.FusedMatMul and planish.FusedConv.
enum ProductInput : size_t { kA, kB, kBias, kR };

/// The product is a planish.FusedConv, with weights by filter.
bool is_conv(const NodeView& view);

/// The weights as a matrix [k, n], all zeros when they are none; strides in elements.
struct ProductWeights {
  int64_t k = 0;
  int64_t n = 0;
  int64_t k_stride = 0;
  int64_t n_stride = 0;

  explicit ProductWeights(const NodeView& view);
};

/// Why the node is not a plain product of contiguous rows with one matrix of weights: FusedMatMul without transposed A
/// or scale, or FusedConv of one pixel on channels-last images.
WhyNot product_refusal(const NodeView& view);

/// n / most, rounded up.
constexpr int64_t parts(int64_t n, int64_t most) { return (n + most - 1) / most; }

/// A product of m rows and n columns, as a kernel sees it.
struct ProductShape {
  int64_t m = 1;
  int64_t k = 1;
  int64_t n = 1;
  int64_t panel = 1;     ///< columns that are computed together
  int64_t row_unit = 1;  ///< rows that a part is a multiple of
  double overhead = 0;   ///< what a part costs beside its panels, in panels
  int64_t own_rows = 0;  ///< with so many each, threads get rows rather than panels; 0: never
};

/// How the work is shared out: a grid of threads over rows and panels.
struct ProductGrid {
  int64_t by_rows = 1;
  int64_t by_panels = 1;
  int64_t rows = 0;    ///< of a part
  int64_t panels = 0;  ///< of a part

  ProductGrid() = default;
  /// The least work for the busiest thread; among grids that are within two percent of it, the most parts
  /// by rows that leave each its own_rows, or else the least memory read.
  ProductGrid(const ProductShape& shape, int threads);
};

}  // namespace planish
