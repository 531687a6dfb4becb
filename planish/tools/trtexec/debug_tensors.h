#pragma once

#include "planish/base/status.h"
#include "planish/tools/trtexec/log.h"
#include "planish/tools/trtexec/options.h"
#include "planish/tools/trtexec/output_report.h"

namespace planish::tools {

/// Writes the marked tensors of the last run: those that --saveDebugTensors names to its files (.npy, else raw bytes),
/// and all of them in the formats of --saveAllDebugTensors: a summary line, or files named after the tensor in the
/// current folder. Error not_found: a tensor that was not marked when the engine was built.
Status save_debug_tensors(std::span<const HostTensor> tensors, const InferenceOptions& options, Log& log);

}  // namespace planish::tools
