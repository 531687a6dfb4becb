#pragma once

#include <string>
#include <vector>

#include "planish/api/quantize.h"
#include "planish/base/status.h"

namespace planish::tools {

/// Writes `folder`/histograms.json (tensor, scale, bin width, counts) and one drawing per tensor, NNN_<tensor>.svg: how
/// many values lie where, and the range that INT8 keeps. Error io.
Status write_histograms(const std::string& folder, const api::CalibrationTable& table);

/// The drawing of one histogram; `scale` 0: no range was chosen.
std::string histogram_svg(const api::RangeHistogram& histogram, double scale);

}  // namespace planish::tools
