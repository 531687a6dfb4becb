#pragma once

#include <vector>

#include "planish/api/engine.h"
#include "planish/tools/trtexec/session.h"

namespace planish::tools {

/// Layers in the words of TensorRT's inspector: LayerType, ParameterType and attribute keys ("Kernel", "OutMaps",
/// "PoolingType", ...) where it has them, ONNX's operator and attribute names elsewhere. Weights are attributes, not
/// inputs.
std::vector<LayerRecord> layer_records(const std::vector<api::LayerInfo>& layers);

}  // namespace planish::tools
