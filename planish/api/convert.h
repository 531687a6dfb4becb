#pragma once

// Models in half precision, as models: what planish convert writes.

#include <cstdint>
#include <string>
#include <vector>

#include "planish/api/engine.h"
#include "planish/api/quantize.h"
#include "planish/base/status.h"

namespace planish::api {

struct HalfOptions {
  DType type = DType::f16;              ///< f16 or bf16
  std::vector<std::string> keep_float;  ///< nodes that stay in f32, by name; one '*' allowed
  bool half_io = false;                 ///< network inputs and outputs change their type as well
};

struct HalfReport {
  int64_t half_nodes = 0;
  std::vector<FloatNode> float_nodes;
};

/// The model with weights and computation in FP16 or BF16, ONNX semantics. Weights beyond FP16's range keep their node
/// in FP32. Errors: invalid_argument when the model is quantised or `type` is neither.
Result<Model> convert_to_half(const Model& model, const HalfOptions& options, HalfReport* report = nullptr);

}  // namespace planish::api
