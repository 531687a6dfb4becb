#pragma once

#include <cstdint>
#include <vector>

#include "planish/base/status.h"
#include "planish/data/detection.h"
#include "planish/data/preprocess.h"
#include "planish/ir/tensor.h"

namespace planish {

/// Defaults are those of ultralytics' validation.
struct YoloOptions {
  float confidence = 0.001F;       ///< keep scores strictly above
  float iou = 0.7F;                ///< suppress boxes that overlap a better one of their class by more
  int64_t max_detections = 300;    ///< per picture, all classes together
  int64_t max_candidates = 30000;  ///< best ones that enter suppression
  bool several_classes = true;     ///< a box may be kept once per class; false: its best class only
};

/// Boxes of picture `index` in a YOLOv8-style output [N, 4 + classes, boxes] (or [N, boxes, 4 + classes]): centre x,
/// centre y, width, height in input pixels, then one score per class. Candidates are suppressed within their class,
/// best first (equal scores keep the output's order), mapped back through `mapping` and clipped to the picture.
/// Errors: shape_mismatch.
Result<std::vector<Detection>> decode_yolo(const Tensor& output, int64_t index, const ImageMapping& mapping,
                                           const YoloOptions& options = {});

}  // namespace planish
