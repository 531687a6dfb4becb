#pragma once

#include <string>
#include <utility>
#include <vector>

#include "planish/api/engine.h"
#include "planish/api/quantize.h"

namespace planish::tools {

/// What INT8 came to in an engine.
struct Int8Summary {
  size_t int8_layers = 0;
  size_t float_layers = 0;  ///< layers that compute, so without layout changes
  double int8_ms = 0;       ///< by the builder's times
  double float_ms = 0;
  double reformat_ms = 0;
  /// Float layers with the reason, longest first.
  std::vector<std::pair<std::string, std::string>> reasons;
  /// Products that were quantised and run in float all the same: their Q and DQ were not fused.
  std::vector<std::string> not_fused;
};

/// `report`: why nodes were not quantised; nullptr for models that came with Q/DQ.
Int8Summary summarise_int8(const std::vector<api::LayerInfo>& layers, const api::QuantizeReport* report);

/// The lines at the end of an INT8 build.
std::vector<std::string> int8_summary_lines(const Int8Summary& summary);

/// The report that a build of `model` with this configuration would come to; empty where the build does not quantise.
api::QuantizeReport quantize_report(const api::Model& model, const api::BuildConfig& config);

}  // namespace planish::tools
