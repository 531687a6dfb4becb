#pragma once

#include <string_view>

namespace planish::tools {

/// The Python side of the ONNX Runtime runner: arguments are the model and settings as JSON (providers, level, outputs
/// to fetch, outputs to add to the model).
std::string_view onnxrt_child_source();

}  // namespace planish::tools
