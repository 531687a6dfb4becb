#include "planish/data/yolo_decode.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace planish {
namespace {

/// A box in input pixels. Suppression computes in f32, as the reference implementation does.
struct Candidate {
  float x0, y0, x1, y1, score;
  int64_t class_index;
};

/// How to walk one picture's predictions: value(box, field) = data[box * box_stride + field * field_stride].
struct Predictions {
  const float* data;
  int64_t boxes, fields, box_stride, field_stride;
  [[nodiscard]] float at(int64_t box, int64_t field) const { return data[box * box_stride + field * field_stride]; }
};

float overlap(const Candidate& a, const Candidate& b) {
  const float w = std::min(a.x1, b.x1) - std::max(a.x0, b.x0), h = std::min(a.y1, b.y1) - std::max(a.y0, b.y0);
  if (w <= 0 || h <= 0) return 0;
  const float shared = w * h;
  return shared / ((a.x1 - a.x0) * (a.y1 - a.y0) + (b.x1 - b.x0) * (b.y1 - b.y0) - shared);
}

std::vector<Candidate> candidates_of(const Predictions& p, const YoloOptions& options) {
  std::vector<Candidate> found;
  for (int64_t box = 0; box < p.boxes; ++box) {
    const float half_w = p.at(box, 2) / 2, half_h = p.at(box, 3) / 2;
    Candidate c{p.at(box, 0) - half_w, p.at(box, 1) - half_h, p.at(box, 0) + half_w, p.at(box, 1) + half_h, 0, -1};
    if (!std::isfinite(c.x0) || !std::isfinite(c.y0) || !std::isfinite(c.x1) || !std::isfinite(c.y1)) continue;
    Candidate best = c;
    for (int64_t k = 0; k < p.fields - 4; ++k) {
      c.score = p.at(box, 4 + k);
      c.class_index = k;
      if (!(c.score > options.confidence)) continue;
      if (options.several_classes)
        found.push_back(c);
      else if (best.class_index < 0 || c.score > best.score)
        best = c;
    }
    if (best.class_index >= 0) found.push_back(best);
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.score > b.score; });
  if (static_cast<int64_t>(found.size()) > options.max_candidates)
    found.resize(static_cast<size_t>(std::max<int64_t>(0, options.max_candidates)));
  return found;
}

std::vector<Candidate> suppress(const std::vector<Candidate>& sorted, const YoloOptions& options) {
  std::vector<Candidate> kept;
  std::map<int64_t, std::vector<Candidate>> kept_by_class;
  for (const Candidate& c : sorted) {
    if (static_cast<int64_t>(kept.size()) >= options.max_detections) break;
    auto& rivals = kept_by_class[c.class_index];
    if (std::any_of(rivals.begin(), rivals.end(), [&](const Candidate& r) { return overlap(r, c) > options.iou; }))
      continue;
    rivals.push_back(c);
    kept.push_back(c);
  }
  return kept;
}

}  // namespace

Result<std::vector<Detection>> decode_yolo(const Tensor& output, int64_t index, const ImageMapping& mapping,
                                           const YoloOptions& options) {
  if (output.rank() != 3 || index < 0 || index >= output.dim(0) || std::min(output.dim(1), output.dim(2)) < 5)
    return Error{.code = Code::shape_mismatch,
                 .what = fmt::format("an output of shape {} does not hold YOLOv8 boxes of picture {}",
                                     to_string(output.shape()), index),
                 .fix = "name the output of shape [N, 4 + classes, boxes]"};
  const Tensor floats = output.cast(DType::f32);
  const int64_t d1 = floats.dim(1), d2 = floats.dim(2);
  Predictions p{floats.data<float>() + index * d1 * d2, d2, d1, 1, d2};
  if (d1 > d2) p = {p.data, d1, d2, d2, 1};  // there are always more boxes than fields

  std::vector<Detection> detections;
  for (const Candidate& c : suppress(candidates_of(p, options), options)) {
    const auto to_x = [&](float x) {
      return std::clamp((x - mapping.offset_x) / mapping.scale_x, 0.0, static_cast<double>(mapping.image_width));
    };
    const auto to_y = [&](float y) {
      return std::clamp((y - mapping.offset_y) / mapping.scale_y, 0.0, static_cast<double>(mapping.image_height));
    };
    detections.push_back({to_x(c.x0), to_y(c.y0), to_x(c.x1), to_y(c.y1), c.score, c.class_index});
  }
  return detections;
}

}  // namespace planish
