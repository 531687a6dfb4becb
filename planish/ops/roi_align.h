#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "planish/base/status.h"
#include "planish/ir/graph.h"

namespace planish {

/// A point between four pixels: their offsets in a plane and weights. Far outside all weights are 0.
struct RoiCorners {
  std::array<int64_t, 4> offset{};
  std::array<double, 4> weight{};
};

/// One region of RoiAlign in input pixels, with its sampling grid per output bin.
struct RoiRegion {
  double top = 0;
  double left = 0;
  double bin_h = 0;
  double bin_w = 0;
  int64_t grid_h = 0;
  int64_t grid_w = 0;
};

/// What RoiAlign's attributes make of the region with the given corners (x1, y1, x2, y2), for `out_h` by `out_w` bins.
/// Error invalid_argument: the region or sampling_ratio is beyond reason.
Result<RoiRegion> roi_region(const Node& node, const std::array<double, 4>& corners, int64_t out_h, int64_t out_w);

/// Sample (iy, ix) of the grid of bin (ph, pw) in a plane of the given size.
RoiCorners roi_sample(const RoiRegion& region, int64_t ph, int64_t pw, int64_t iy, int64_t ix, int64_t height,
                      int64_t width);

}  // namespace planish
