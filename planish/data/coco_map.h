#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "planish/data/detection.h"

namespace planish {

/// COCO detection scores; -1 where there is nothing to average (no true box at all).
struct CocoMap {
  double map50 = -1;                           ///< mean over classes of the average precision at IoU 0.5
  double map50_95 = -1;                        ///< mean also over IoU 0.5, 0.55 ... 0.95
  std::map<int64_t, double> ap50_95_by_class;  ///< classes that have true boxes
  bool operator==(const CocoMap&) const = default;
};

/// Collects pictures and computes mAP as pycocotools' COCOeval does for area "all" and 100 detections per picture and
/// class: greedy matching by score, precision made monotone, 101 recall points. Equal scores keep the order in which
/// they were added.
/// Source: Lin et al., "Microsoft COCO: Common Objects in Context", 2014; cocodataset.org/#detection-eval.
class CocoEvaluator {
 public:
  /// One picture; both lists may be empty.
  void add(std::span<const Detection> detections, std::span<const GroundTruth> truths);
  [[nodiscard]] CocoMap compute() const;
  [[nodiscard]] int64_t pictures() const { return static_cast<int64_t>(pictures_.size()); }

 private:
  struct Picture {
    std::map<int64_t, std::vector<Detection>> detections;
    std::map<int64_t, std::vector<GroundTruth>> truths;
  };
  std::vector<Picture> pictures_;
};

}  // namespace planish
