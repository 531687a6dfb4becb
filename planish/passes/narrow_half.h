#pragma once

#include <string>
#include <utility>
#include <vector>

#include "planish/base/status.h"
#include "planish/ir/graph.h"

namespace planish {

struct NarrowOptions {
  DType type = DType::f16;  ///< f16 or bf16
  /// Nodes that stay in f32: node or origin name, one '*' allowed.
  std::vector<std::string> keep_float;
  bool half_io = false;  ///< inputs and outputs of the network change their type too; else Casts keep them
};

struct NarrowReport {
  int64_t narrowed_nodes = 0;
  std::vector<std::pair<std::string, std::string>> float_nodes;  ///< name, reason
};

/// f32 graph -> f16 or bf16 graph of ONNX operators: weights are stored in that type, every node that may computes in
/// it, and Casts stand where it meets what stays in f32 (operators that ONNX defines for f32 only, nodes with bodies,
/// weights beyond the type's range, nodes on request). Constants beyond the range that are no weights (masks, bounds)
/// become the largest finite value. `graph` carries types; the result needs inference.
Result<Graph> narrow_to_half(const Graph& graph, const NarrowOptions& options, NarrowReport* report = nullptr);

}  // namespace planish
