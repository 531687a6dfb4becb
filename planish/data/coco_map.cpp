#include "planish/data/coco_map.h"

#include <algorithm>
#include <array>
#include <limits>
#include <set>

namespace planish {
namespace {

constexpr size_t kThresholds = 10;
constexpr size_t kRecallPoints = 101;
constexpr size_t kMaxDetections = 100;

/// `count` evenly spaced values whose last one is exactly `last`, in the floating-point order of numpy.linspace:
/// recalls are compared with these values, so the last bit counts.
template <size_t N>
std::array<double, N> linspace(double first, double last) {
  std::array<double, N> values{};
  const double step = (last - first) / static_cast<double>(N - 1);
  for (size_t i = 0; i < N; ++i) values[i] = static_cast<double>(i) * step + first;
  values[N - 1] = last;
  return values;
}

/// One detection after matching, per IoU threshold.
struct Judged {
  double score = 0;
  std::array<bool, kThresholds> matched{};
  std::array<bool, kThresholds> ignored{};
};

/// Intersection over union; over a crowd the union is the detection alone. Boxes are first written as x, y, width and
/// height, which is what pycocotools computes with.
double overlap(const Detection& d, const GroundTruth& g) {
  const double dw = d.x1 - d.x0, dh = d.y1 - d.y0, gw = g.x1 - g.x0, gh = g.y1 - g.y0;
  const double w = std::min(dw + d.x0, gw + g.x0) - std::max(d.x0, g.x0);
  const double h = std::min(dh + d.y0, gh + g.y0) - std::max(d.y0, g.y0);
  if (w <= 0 || h <= 0) return 0;
  const double shared = w * h;
  return shared / (g.crowd ? dw * dh : dw * dh + gw * gh - shared);
}

/// Greedy matching of one picture's boxes of one class: detections by score, each takes the free true box that it
/// overlaps most (the later of equals); crowds come last and may be taken again and again.
void judge(std::vector<Detection> detections, std::vector<GroundTruth> truths, std::vector<Judged>& out) {
  static const auto thresholds = linspace<kThresholds>(0.5, 0.95);
  std::stable_sort(detections.begin(), detections.end(),
                   [](const auto& a, const auto& b) { return a.score > b.score; });
  if (detections.size() > kMaxDetections) detections.resize(kMaxDetections);
  std::stable_sort(truths.begin(), truths.end(), [](const auto& a, const auto& b) { return a.crowd < b.crowd; });

  std::vector<std::array<bool, kThresholds>> taken(truths.size());
  for (const Detection& d : detections) {
    Judged judged{d.score};
    std::vector<double> overlaps;
    for (const GroundTruth& g : truths) overlaps.push_back(overlap(d, g));
    for (size_t t = 0; t < kThresholds; ++t) {
      double best = std::min(thresholds[t], 1 - 1e-10);
      size_t match = truths.size();
      for (size_t g = 0; g < truths.size(); ++g) {
        if (taken[g][t] && !truths[g].crowd) continue;
        if (match < truths.size() && !truths[match].crowd && truths[g].crowd) break;
        if (overlaps[g] < best) continue;
        best = overlaps[g];
        match = g;
      }
      if (match == truths.size()) continue;
      taken[match][t] = true;
      judged.matched[t] = true;
      judged.ignored[t] = truths[match].crowd;
    }
    out.push_back(judged);
  }
}

/// Mean precision at the recall points for one class and threshold; `judged` is sorted by score.
double average_precision(const std::vector<Judged>& judged, size_t threshold, int64_t positives) {
  static const auto points = linspace<kRecallPoints>(0.0, 1.0);
  std::vector<double> recall, precision;
  double hits = 0, misses = 0;
  for (const Judged& j : judged) {
    // An ignored detection moves neither count but keeps its place on the curve.
    if (!j.ignored[threshold]) (j.matched[threshold] ? hits : misses) += 1;
    recall.push_back(hits / static_cast<double>(positives));
    precision.push_back(hits / (misses + hits + std::numeric_limits<double>::epsilon()));
  }
  for (size_t i = precision.size(); i-- > 1;) precision[i - 1] = std::max(precision[i - 1], precision[i]);
  double sum = 0;
  for (const double point : points) {
    const auto at = std::lower_bound(recall.begin(), recall.end(), point);
    if (at != recall.end()) sum += precision[static_cast<size_t>(at - recall.begin())];
  }
  return sum / static_cast<double>(kRecallPoints);
}

}  // namespace

void CocoEvaluator::add(std::span<const Detection> detections, std::span<const GroundTruth> truths) {
  Picture& picture = pictures_.emplace_back();
  for (const Detection& d : detections) picture.detections[d.class_index].push_back(d);
  for (const GroundTruth& g : truths) picture.truths[g.class_index].push_back(g);
}

CocoMap CocoEvaluator::compute() const {
  std::map<int64_t, int64_t> positives;
  for (const Picture& picture : pictures_)
    for (const auto& [class_index, truths] : picture.truths)
      for (const GroundTruth& g : truths)
        if (!g.crowd) ++positives[class_index];

  CocoMap result;
  double sum50 = 0, sum = 0;
  for (const auto& [class_index, count] : positives) {
    std::vector<Judged> judged;
    for (const Picture& picture : pictures_) {
      const auto d = picture.detections.find(class_index);
      if (d == picture.detections.end()) continue;
      const auto g = picture.truths.find(class_index);
      judge(d->second, g == picture.truths.end() ? std::vector<GroundTruth>{} : g->second, judged);
    }
    std::stable_sort(judged.begin(), judged.end(), [](const auto& a, const auto& b) { return a.score > b.score; });
    double class_sum = 0;
    for (size_t t = 0; t < kThresholds; ++t) {
      const double ap = average_precision(judged, t, count);
      class_sum += ap;
      if (t == 0) sum50 += ap;
    }
    result.ap50_95_by_class[class_index] = class_sum / kThresholds;
    sum += class_sum / kThresholds;
  }
  if (positives.empty()) return result;
  result.map50 = sum50 / static_cast<double>(positives.size());
  result.map50_95 = sum / static_cast<double>(positives.size());
  return result;
}

}  // namespace planish
