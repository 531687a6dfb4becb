#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "planish/base/status.h"

namespace planish {

/// TensorRT's calibration cache: a header line, then one line per tensor: its name and the bits of its scale.
struct CalibrationCache {
  std::string header;
  std::vector<std::pair<std::string, float>> scales;  ///< in the order of the text
};

/// Reads the text. `warnings` gets a sentence for another TensorRT version or calibrator in the header, and one per
/// scale of zero, which is left out. Names may hold spaces and colons: a line is split at its last ": ".
/// Error corrupt: no header, a line of another form, a scale that is negative or not finite; names `file` and line.
Result<CalibrationCache> parse_calibration_cache(std::string_view text, std::string_view file,
                                                 std::vector<std::string>* warnings = nullptr);
std::string calibration_cache_text(const CalibrationCache& cache);

/// Header of the caches that planish writes.
inline constexpr std::string_view kCalibrationCacheHeader = "TRT-101300-EntropyCalibration2";

}  // namespace planish
