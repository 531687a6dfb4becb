#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "planish/base/status.h"
#include "planish/ir/graph.h"

namespace planish {

/// How GridSample turns a coordinate into pixels.
struct SampleRule {
  enum class Mode { nearest, linear, cubic };
  enum class Padding { zeros, border, reflection };
  Mode mode = Mode::linear;
  Padding padding = Padding::zeros;
  bool align_corners = false;

  /// Pixels per dimension: 1, 2 or 4.
  [[nodiscard]] int64_t taps() const { return mode == Mode::nearest ? 1 : mode == Mode::linear ? 2 : 4; }
};

/// Reads mode, padding_mode and align_corners. Error invalid_model: a name that ONNX does not know.
Result<SampleRule> sample_rule(const Node& node);

/// The pixels of one dimension that a coordinate is made of: the first rule.taps() entries.
struct AxisTaps {
  std::array<int64_t, 4> index;  ///< -1: reads as zero
  std::array<double, 4> weight;
};

/// Normalised coordinate `g` (-1 to 1) in a dimension of `dim` pixels.
AxisTaps axis_taps(const SampleRule& rule, double g, int64_t dim);

}  // namespace planish
