#pragma once

#include <string>

namespace planish::tools {

/// One entry of --inputIOFormats or --outputIOFormats.
struct IoFormatEntry {
  std::string type;                  ///< "fp16"; "" keeps the model's
  std::string layout = "row_major";  ///< as planish/ir names it; "" when planish has no such layout at the boundary
  std::string layout_word = "chw";   ///< as it was written
};

/// Reads `fp16:chw`, `fp16:chw+hwc` (the first layout that exists counts) or `hwc`.
IoFormatEntry parse_io_format(const std::string& entry);

}  // namespace planish::tools
