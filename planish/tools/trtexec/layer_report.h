#pragma once

#include <string>

#include "planish/tools/trtexec/log.h"
#include "planish/tools/trtexec/session.h"

namespace planish::tools {

/// "Row major linear FP32", "Sixteen wide channel vectorized row major FP32 format", ... (TensorRT's phrases).
std::string format_phrase(const TensorRecord& tensor);

/// "FP32", "FP16", "BFloat16", "Int8", "INT64", ... as the phrases spell types.
std::string phrase_type(DType dtype);

/// The --dumpLayerInfo text: "Layers:", one line per layer, a blank line, "Bindings:", one name per line. `verbosity`
/// is detailed, layer_names_only or none.
std::string layer_info_text(const EngineRecord& engine, const std::string& verbosity);

/// JSON object for --exportLayerInfo, with the keys of TensorRT 10 and 11 side by side.
std::string layer_info_json(const EngineRecord& engine, const std::string& verbosity);

/// The --dumpOptimizationProfile section.
void report_optimization_profiles(Log& log, const EngineRecord& engine);

}  // namespace planish::tools
