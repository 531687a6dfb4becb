#pragma once

#include <cstdint>

#include "planish/ir/graph.h"

namespace planish {

/// A graph with the products of dynamic quantisation in float again, and how many there were.
struct StaticForm {
  Graph graph;
  int64_t products = 0;  ///< MatMulInteger and ConvInteger that became MatMul and Conv
  int64_t left = 0;      ///< those that stayed: nothing scales their sums in a way that is known
};

/// Turns dynamic quantisation back: DynamicQuantizeLinear -> MatMulInteger or ConvInteger -> Cast -> Mul by the scales
/// becomes MatMul or Conv of the float input with the dequantised weights; DequantizeLinear behind a Gather of a
/// constant table becomes a Gather of the dequantised table. What comes out has float weights, so that calibration and
/// place_qdq() can quantise it statically. The graph is one that the importer made; its main graph is rewritten, bodies
/// of If, Loop and Scan are not.
Result<StaticForm> dynamic_to_static(const Graph& graph);

}  // namespace planish
