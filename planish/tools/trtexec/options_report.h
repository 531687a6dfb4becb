#pragma once

#include "planish/tools/trtexec/log.h"
#include "planish/tools/trtexec/options.h"
#include "planish/tools/trtexec/session.h"

namespace planish::tools {

/// The option sections that open a run, one `Key: value` per line; the build section is empty when an engine is loaded.
void report_options(Log& log, const Options& options);

/// `=== Device Information ===` and the version lines.
void report_device(Log& log, const DeviceRecord& device);

}  // namespace planish::tools
