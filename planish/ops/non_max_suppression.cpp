// NonMaxSuppression: indices [batch, class, box] of boxes kept greedily by score. f32.
// https://onnx.ai/onnx/operators/onnx__NonMaxSuppression.html

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "planish/base/parallel.h"
#include "planish/ops/checks.h"
#include "planish/ops/registry.h"

namespace planish {
namespace {

template <typename Ctx>
Status check_shapes(const Ctx& ctx, const Shape& boxes, const Shape& scores) {
  const auto differ = [](int64_t a, int64_t b) { return a >= 0 && b >= 0 && a != b; };
  if (boxes.size() != 3 || scores.size() != 3 || differ(boxes[2], 4) || differ(boxes[0], scores[0]) ||
      differ(boxes[1], scores[2]))
    return ctx.error(fmt::format("boxes {} and scores {} do not fit", to_string(boxes), to_string(scores)));
  return {};
}

Status infer(InferContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(check_shapes(ctx, ctx.shape(0), ctx.shape(1)));
  ctx.set(0, DType::i64, Shape{kUnknownDim, 3});
  return {};
}

struct Box {
  double x0, y0, x1, y1;
  double area = (x1 - x0) * (y1 - y0);
};

Box box_at(std::span<const double, 4> corners, bool centred) {
  const auto [a, b, c, d] = std::array{corners[0], corners[1], corners[2], corners[3]};
  if (centred) return {a - c / 2, b - d / 2, a + c / 2, b + d / 2};
  // Corners [y1, x1, y2, x2] of any diagonal.
  return {std::min(b, d), std::min(a, c), std::max(b, d), std::max(a, c)};
}

/// Whether two boxes with an area have more than a share in common.
bool overlap(const Box& a, const Box& b, double share) {
  const double w = std::min(a.x1, b.x1) - std::max(a.x0, b.x0);
  const double h = std::min(a.y1, b.y1) - std::max(a.y0, b.y0);
  const double both = w * h;
  const double either = a.area + b.area - both;
  // One branch that is nearly always taken, as most pairs are far from the share; dividing decides about the others.
  constexpr double kBelow = 1 - 1e-12;
  const bool may = (w > 0) & (h > 0) & (both >= kBelow * share * either);
  if (!may) return false;
  return either > 0 && both / either > share;
}

/// Whether a box can have anything in common with another one.
bool has_area(const Box& b) {
  return std::isfinite(b.x0) && std::isfinite(b.x1) && std::isfinite(b.y0) && std::isfinite(b.y1) && b.area > 0;
}

/// Boxes, found again by where they lie: what a box has in common with others is near it, and where one class keeps
/// thousands of boxes, looking at all of them for each takes nearly all of a detector's time.
///
/// The longer side of the area that all boxes cover is cut into strips about as wide as a box, and every strip knows
/// the boxes that reach into it. A box of which more than a share `iou` lies within another one has that much of its
/// width in common with it too. So one of ceil(1/iou) - 1 evenly spaced points of its width must lie in the other box,
/// and only the strips of these points are looked through.
class PlacedBoxes {
 public:
  /// For boxes among the `candidates` of `all`.
  PlacedBoxes(const std::vector<Box>& all, const std::vector<int64_t>& candidates, double iou) : iou_(iou) {
    constexpr double kFewestShares = 1.0 / 8;
    if (iou >= kFewestShares) points_ = static_cast<int>(std::ceil(1 / iou)) - 1;
    Range x;
    Range y;
    for (const int64_t i : candidates)
      if (const Box& b = all[static_cast<size_t>(i)]; has_area(b)) {
        x.add(b.x0, b.x1);
        y.add(b.y0, b.y1);
      }
    by_y_ = y.boxes() > x.boxes();
    const Range& longer = by_y_ ? y : x;
    const double strips = std::clamp(longer.boxes(), 1.0, static_cast<double>(kMostStrips));
    strips_.resize(std::isfinite(strips) ? static_cast<size_t>(strips) : 1);
    from_ = longer.from;
    per_unit_ = static_cast<double>(strips_.size()) / (longer.to - longer.from);
    if (!std::isfinite(per_unit_)) per_unit_ = 0;
  }

  void add(const Box& b) {
    ++count_;
    if (!has_area(b)) return;
    const auto [first, last] = ends(b);
    for (size_t s = strip(first); s <= strip(last); ++s) strips_[s].push_back(b);
  }

  /// Whether `b` and one of the boxes have more than the share in common.
  [[nodiscard]] bool cover(const Box& b) const {
    if (iou_ < 0) return count_ > 0;
    if (!has_area(b)) return false;
    const auto [first, last] = ends(b);
    if (points_ == 0) {
      for (size_t s = strip(first); s <= strip(last); ++s)
        if (strip_covers(s, b)) return true;
      return false;
    }
    size_t seen = strips_.size();
    for (int i = 1; i <= points_; ++i) {
      const size_t s = strip(first + (last - first) * i / (points_ + 1));
      if (s != seen && strip_covers(s, b)) return true;
      seen = s;
    }
    return false;
  }

 private:
  static constexpr int kMostStrips = 2048;

  /// What boxes cover along one axis.
  struct Range {
    double from = std::numeric_limits<double>::infinity();
    double to = -std::numeric_limits<double>::infinity();
    double covered = 0;
    int64_t count = 0;
    void add(double first, double last) {
      from = std::min(from, first);
      to = std::max(to, last);
      covered += last - first;
      ++count;
    }
    /// How many boxes of the mean size lie side by side.
    [[nodiscard]] double boxes() const { return count > 0 ? (to - from) / covered * static_cast<double>(count) : 1; }
  };

  [[nodiscard]] std::pair<double, double> ends(const Box& b) const {
    return by_y_ ? std::pair(b.y0, b.y1) : std::pair(b.x0, b.x1);
  }
  [[nodiscard]] size_t strip(double at) const {
    const double s = (at - from_) * per_unit_;
    return s > 0 ? std::min(static_cast<size_t>(s), strips_.size() - 1) : 0;
  }
  [[nodiscard]] bool strip_covers(size_t s, const Box& b) const {
    return std::ranges::any_of(strips_[s], [&](const Box& k) { return overlap(b, k, iou_); });
  }

  double iou_;
  int points_ = 0;  ///< of a box's width; 0: all strips that it reaches into
  bool by_y_ = false;
  double from_ = 0;
  double per_unit_ = 0;
  std::vector<std::vector<Box>> strips_;
  int64_t count_ = 0;
};

struct Limits {
  int64_t per_class = 0;
  double iou = 0;
  std::optional<double> score;
};

Result<Limits> limits_of(const RefContext& ctx) {
  for (size_t i = 2; i < 5; ++i)
    if (ctx.has(i) && ctx.in(i).size() > 1) return ctx.error(fmt::format("input {} must be one element", i));
  const auto given = [&](size_t i) { return ctx.has(i) && ctx.in(i).size() == 1; };
  Limits out;
  if (given(2)) out.per_class = std::max<int64_t>(ctx.in(2).int_at(0), 0);
  if (given(3)) out.iou = ctx.in(3).at(0);
  if (given(4)) out.score = ctx.in(4).at(0);
  return out;
}

/// Boxes of one class that survive, the best score first; the smaller index where scores are equal.
std::vector<int64_t> survivors(const std::vector<Box>& boxes, std::span<const double> scores, const Limits& limits) {
  std::vector<int64_t> heap;
  for (size_t i = 0; i < scores.size(); ++i)
    if (!limits.score ? scores[i] == scores[i] : scores[i] > *limits.score) heap.push_back(static_cast<int64_t>(i));
  const auto worse = [scores](int64_t a, int64_t b) {
    const double p = scores[static_cast<size_t>(a)];
    const double q = scores[static_cast<size_t>(b)];
    return p != q ? p < q : a > b;
  };
  std::ranges::make_heap(heap, worse);  // few of many candidates are looked at as a rule
  std::vector<int64_t> kept;
  PlacedBoxes placed(boxes, heap, limits.iou);
  for (; !heap.empty() && static_cast<int64_t>(kept.size()) < limits.per_class; heap.pop_back()) {
    std::ranges::pop_heap(heap, worse);
    const Box& box = boxes[static_cast<size_t>(heap.back())];
    if (placed.cover(box)) continue;
    placed.add(box);
    kept.push_back(heap.back());
  }
  return kept;
}

/// Elements [first, first + out.size()) as doubles.
void read_doubles(const Tensor& t, int64_t first, std::span<double> out) {
  if (t.dtype() == DType::f32) {
    std::copy_n(t.data<float>() + first, out.size(), out.begin());
    return;
  }
  for (size_t i = 0; i < out.size(); ++i) out[i] = t.at(first + static_cast<int64_t>(i));
}

Status reference(RefContext& ctx) {
  PLANISH_TRY(require_inputs(ctx, 2));
  PLANISH_TRY(require_real(ctx));
  const Tensor& boxes = ctx.in(0);
  const Tensor& scores = ctx.in(1);
  PLANISH_TRY(check_shapes(ctx, boxes.shape(), scores.shape()));
  const Limits limits = PLANISH_TRY(limits_of(ctx));
  const bool centred = ctx.node().attr_int("center_point_box", 0) != 0;
  const int64_t count = boxes.dim(1);
  const int64_t classes = scores.dim(1);
  std::vector<int64_t> selected;
  std::vector<Box> batch_boxes(static_cast<size_t>(count));
  std::vector<std::vector<int64_t>> kept(static_cast<size_t>(classes));
  for (int64_t b = 0; b < boxes.dim(0); ++b) {
    for (int64_t i = 0; i < count; ++i) {
      std::array<double, 4> corners{};
      read_doubles(boxes, (b * count + i) * 4, corners);
      batch_boxes[static_cast<size_t>(i)] = box_at(corners, centred);
    }
    constexpr int64_t kGrain = 8192;  // scores that make a thread worth waking
    parallel_for(classes, std::max<int64_t>(1, kGrain / std::max<int64_t>(count, 1)), [&](int64_t begin, int64_t end) {
      std::vector<double> class_scores(static_cast<size_t>(count));
      for (int64_t c = begin; c < end; ++c) {
        read_doubles(scores, (b * classes + c) * count, class_scores);
        kept[static_cast<size_t>(c)] = survivors(batch_boxes, class_scores, limits);
      }
    });
    for (int64_t c = 0; c < classes; ++c)
      for (const int64_t i : kept[static_cast<size_t>(c)]) selected.insert(selected.end(), {b, c, i});
  }
  Tensor* y = PLANISH_TRY(ctx.output(0, DType::i64, Shape{static_cast<int64_t>(selected.size()) / 3, 3}));
  std::ranges::copy(selected, y->data<int64_t>());
  return {};
}

constexpr std::array kOps{
    OpDecl{
        .name = "NonMaxSuppression", .since = 10, .traits = kTraitDynamicShape, .infer = infer, .reference = reference},
};

}  // namespace

std::span<const OpDecl> non_max_suppression_ops() { return kOps; }

}  // namespace planish
