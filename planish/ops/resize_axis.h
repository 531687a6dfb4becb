#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "planish/base/status.h"

namespace planish {

/// The attributes of ONNX Resize that say how one axis is resampled.
struct ResizeRule {
  std::string mode = "nearest";
  std::string nearest_mode = "round_prefer_floor";
  std::string transform = "half_pixel";  ///< coordinate_transformation_mode
  bool antialias = false;
  bool exclude_outside = false;
  double cubic_coeff_a = -0.75;
};

/// Which input elements an output element is made of, along one axis: output i is the sum over t < taps of
/// weight[i * taps + t] * input[index[i * taps + t]]. taps = 0 stands for an axis that does not change.
struct ResizeAxis {
  int64_t in = 0;
  int64_t taps = 0;
  std::vector<int64_t> index;  ///< clamped to [0, in)
  std::vector<double> weight;  ///< sums to 1 per output
  std::vector<char> outside;   ///< per output: takes the extrapolation value instead
};

/// Table for an axis of `in` >= 1 elements resized to `out`. `scale` is out / in, or what the user gave (then out is
/// the floor of in * scale). `roi_start` and `roi_end` are fractions of the input (tf_crop_and_resize only). Error
/// invalid_model: an attribute has an unknown value.
Result<ResizeAxis> resize_axis(const ResizeRule& rule, int64_t in, int64_t out, double scale, double roi_start,
                               double roi_end);

}  // namespace planish
