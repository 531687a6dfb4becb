#pragma once

#include <string>
#include <utility>
#include <vector>

#include "planish/api/engine.h"
#include "planish/api/quantize.h"

namespace planish::tools {

/// What INT8 came to in an engine.
struct Int8Summary {
  size_t int8_layers = 0;    ///< layers that compute
  size_t float_layers = 0;   ///< the same in other types
  size_t moving_layers = 0;  ///< layers that only move or choose elements, bytes or floats
  double int8_ms = 0;        ///< by the builder's times
  double float_ms = 0;
  double moving_ms = 0;
  double reformat_ms = 0;  ///< what the builder and quantisation added to change layouts and types
  /// Float layers with the reason, longest first.
  std::vector<std::pair<std::string, std::string>> reasons;
  /// Products that were quantised and run in float all the same: their Q and DQ were not fused.
  std::vector<std::string> not_fused;
};

/// `report`: why nodes were not quantised; nullptr for models that came with Q/DQ and where nothing was quantised.
Int8Summary summarise_int8(const std::vector<api::LayerInfo>& layers, const api::QuantizeReport* report);

/// The lines at the end of an INT8 build.
std::vector<std::string> int8_summary_lines(const Int8Summary& summary);

/// Whether INT8 lost against float anywhere, as a line of the same text; "" when the build did not compare.
std::string float_fallback_line(const api::FloatFallback& fallback);

/// All of them for a build with `config`; none where it was not to be in INT8.
Result<std::vector<std::string>> int8_build_lines(const api::Engine& engine, const api::BuildConfig& config,
                                                  const api::BuildStats& stats);

}  // namespace planish::tools
