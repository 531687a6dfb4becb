#pragma once

#include <cstddef>

#include "planish/ir/graph.h"

namespace planish {

/// How many products (Conv, Gemm, MatMul) have constant weights with at most two non-zeros in every four consecutive
/// ones along the reduction, the pattern of 2:4 sparse kernels, and how many could have it.
struct SparsityCount {
  size_t sparse = 0;
  size_t eligible = 0;  ///< the reduction's length is a multiple of four
};
SparsityCount count_two_of_four(const Graph& graph);

/// Sets the two smallest of every four consecutive weights along the reduction to zero, in every eligible product.
/// Changes what the network computes.
SparsityCount prune_to_two_of_four(Graph& graph);

}  // namespace planish
