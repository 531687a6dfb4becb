#pragma once

#include <cstdint>

namespace planish {

/// A box that a model found, in pixels of the original picture, corners x0 <= x1 and y0 <= y1.
struct Detection {
  double x0 = 0, y0 = 0, x1 = 0, y1 = 0;
  double score = 0;
  int64_t class_index = 0;
  bool operator==(const Detection&) const = default;
};

/// A true box, in pixels of the original picture.
struct GroundTruth {
  double x0 = 0, y0 = 0, x1 = 0, y1 = 0;
  int64_t class_index = 0;
  bool crowd = false;  ///< stands for many objects: detections on it are neither right nor wrong
  bool operator==(const GroundTruth&) const = default;
};

}  // namespace planish
