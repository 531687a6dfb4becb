#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "planish/ops/test/node_runner.h"
#include "planish/ops/test/tensor_values.h"

namespace planish::test {
namespace {

using Values = std::vector<double>;
using Corners = std::array<float, 4>;  // y0, x0, y1, x1

std::vector<int64_t> selected(const std::vector<Corners>& boxes, const Values& scores, double iou,
                              double least_score = -1, double most = 1e6) {
  const auto n = static_cast<int64_t>(boxes.size());
  Values corners;
  for (const Corners& b : boxes) corners.insert(corners.end(), b.begin(), b.end());
  const auto number = [](DType type, double v) { return tensor(type, {}, {v}); };
  const auto out = run_node({.op = "NonMaxSuppression"},
                            {tensor(DType::f32, {1, n, 4}, corners), tensor(DType::f32, {1, 1, n}, scores),
                             number(DType::i64, most), number(DType::f32, iou), number(DType::f32, least_score)});
  std::vector<int64_t> of_boxes;
  EXPECT_TRUE(out.ok());
  if (!out.ok()) return of_boxes;
  const std::vector<int64_t> rows = (*out)[0].to_i64();
  for (size_t i = 2; i < rows.size(); i += 3) of_boxes.push_back(rows[i]);
  return of_boxes;
}

/// The definition: every box against all that were kept.
std::vector<int64_t> by_definition(const std::vector<Corners>& boxes, const Values& scores, double iou) {
  const auto share = [](const Corners& a, const Corners& b) {
    const auto side = [](double from, double to) { return to - from; };
    const double h = side(std::max(a[0], b[0]), std::min(a[2], b[2]));
    const double w = side(std::max(a[1], b[1]), std::min(a[3], b[3]));
    const double of_a = side(a[0], a[2]) * side(a[1], a[3]);
    const double of_b = side(b[0], b[2]) * side(b[1], b[3]);
    if (!(w > 0 && h > 0 && of_a > 0 && of_b > 0)) return 0.0;
    return std::isfinite(of_a + of_b) ? w * h / (of_a + of_b - w * h) : 0.0;
  };
  std::vector<int64_t> order(boxes.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater{}, [&](int64_t i) { return static_cast<float>(scores[i]); });
  std::vector<int64_t> kept;
  for (const int64_t i : order)
    if (std::ranges::none_of(kept, [&](int64_t k) { return share(boxes[i], boxes[k]) > static_cast<float>(iou); }))
      kept.push_back(i);
  return kept;
}

TEST(NonMaxSuppression, KeepsTheBestOfOverlapping) {
  const std::vector<Corners> boxes{{0, 0, 1, 1}, {0, 0.1F, 1, 1.1F}, {5, 5, 6, 6}};
  EXPECT_EQ(selected(boxes, {0.5, 0.9, 0.1}, 0.5, 0), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(selected(boxes, {0.5, 0.9, 0.1}, 0.5, 0.3), (std::vector<int64_t>{1}));
  EXPECT_EQ(selected(boxes, {0.5, 0.9, 0.1}, 0.5, 0, 1), (std::vector<int64_t>{1}));
}

TEST(NonMaxSuppression, ManyBoxesAreKeptAsTheDefinitionSays) {
  for (const uint32_t seed : {1U, 2U}) {
    // Classes beside each other along y, x or not at all, as detectors offset them to suppress in one go.
    for (const auto& [dy, dx] : {std::pair(0.0F, 0.0F), std::pair(400.0F, 0.0F), std::pair(0.0F, 400.0F)}) {
      std::mt19937 random(seed);
      std::uniform_real_distribution<float> place(0, 300);
      std::uniform_real_distribution<float> size(0, 90);
      std::vector<Corners> boxes;
      Values scores;
      for (int i = 0; i < 1500; ++i) {
        const auto of_class = static_cast<float>(i % 5);
        const float y = place(random) + of_class * dy;
        const float x = place(random) + of_class * dx;
        boxes.push_back({y, x, y + size(random), x + size(random)});
        scores.push_back(place(random));
      }
      for (size_t i = 0; i + 1 < boxes.size(); i += 50) boxes[i + 1] = boxes[i];  // the same box twice
      for (size_t i = 0; i < boxes.size(); i += 97) boxes[i][2] = boxes[i][0];    // without area
      boxes[10][1] = -std::numeric_limits<float>::infinity();
      boxes[11][3] = std::numeric_limits<float>::infinity();
      for (const double iou : {0.0, 0.05, 0.125, 0.3, 0.45, 0.5, 0.7, 0.95, 1.0})
        EXPECT_EQ(selected(boxes, scores, iou), by_definition(boxes, scores, iou))
            << "iou " << iou << ", classes " << dy << " " << dx << ", seed " << seed;
    }
  }
}

TEST(NonMaxSuppression, BoxesInOnePlaceOrWithoutArea) {
  const std::vector<Corners> same(5, Corners{1, 1, 2, 2});
  const Values scores{1, 2, 3, 4, 5};
  EXPECT_EQ(selected(same, scores, 0.5), (std::vector<int64_t>{4}));
  const std::vector<Corners> points(5, Corners{1, 1, 1, 1});
  EXPECT_EQ(selected(points, scores, 0.5).size(), 5U);
  const std::vector<Corners> none(3, Corners{NAN, NAN, NAN, NAN});
  EXPECT_EQ(selected(none, {1, 2, 3}, 0.5).size(), 3U);
}

}  // namespace
}  // namespace planish::test
