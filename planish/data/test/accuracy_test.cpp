#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "planish/data/coco_map.h"
#include "planish/data/metrics.h"
#include "planish/data/yolo_decode.h"

namespace planish {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(Accuracy, RanksTiesByIndexAndNanLast) {
  const std::vector<float> scores{1, 3, 3, kNan, 2};
  EXPECT_EQ(argmax(scores), 1);
  EXPECT_EQ(rank_of_label(scores, 1), 0);
  EXPECT_EQ(rank_of_label(scores, 2), 1);
  EXPECT_EQ(rank_of_label(scores, 0), 3);
  EXPECT_EQ(rank_of_label(scores, 3), 5);
  EXPECT_EQ(rank_of_label(scores, 9), 5);
  EXPECT_EQ(argmax(std::vector<float>{kNan}), -1);
}

TEST(Accuracy, CountsTopOneAndFive) {
  Tensor scores(DType::f32, {3, 7});
  for (int64_t i = 0; i < 21; ++i) scores.set(i, static_cast<double>(i % 7));
  Accuracy accuracy;
  ASSERT_TRUE(accuracy.add_batch(scores, std::vector<int64_t>{6, 2, 1}).ok());
  EXPECT_EQ(accuracy.top1_hits(), 1);
  EXPECT_EQ(accuracy.top5_hits(), 2);
  ASSERT_TRUE(accuracy.add_batch(scores.reshaped({3, 7, 1, 1}), std::vector<int64_t>{6}).ok());
  EXPECT_EQ(accuracy.count(), 4);
  EXPECT_DOUBLE_EQ(accuracy.top1(), 0.5);
  EXPECT_EQ(accuracy.add_batch(scores, std::vector<int64_t>{7}).error().code, Code::invalid_argument);
  EXPECT_EQ(accuracy.add_batch(scores, std::vector<int64_t>(4)).error().code, Code::shape_mismatch);
}

/// Columns cx, cy, w, h, score of class 0, score of class 1.
Tensor yolo_output(const std::vector<std::array<float, 6>>& boxes) {
  Tensor output(DType::f32, {1, 6, static_cast<int64_t>(boxes.size())});
  for (size_t b = 0; b < boxes.size(); ++b)
    for (size_t f = 0; f < 6; ++f) output.data<float>()[f * boxes.size() + b] = boxes[b][f];
  return output;
}

TEST(Yolo, SuppressesWithinAClassAndMapsBack) {
  const Tensor output = yolo_output({{20, 20, 10, 10, 0.9F, 0.8F},
                                     {21, 20, 10, 10, 0.7F, 0},  // overlaps the first by 9/11
                                     {40, 40, 10, 20, 0, 0.5F},
                                     {1, 1, 10, 10, 0, 0.25F},      // sticks out
                                     {50, 50, 5, 5, 0.001F, kNan},  // not above the threshold
                                     {kNan, 50, 5, 5, 0.9F, 0.9F},
                                     {60, 10, 5, 5, 0, 0}});
  const ImageMapping mapping{100, 50, 0.5, 0.5, 0, 10};
  const auto found = decode_yolo(output, 0, mapping);
  ASSERT_TRUE(found.ok());
  ASSERT_EQ(found->size(), 4U);
  EXPECT_EQ((*found)[0], (Detection{30, 10, 50, 30, 0.9F, 0}));
  EXPECT_EQ((*found)[1], (Detection{30, 10, 50, 30, 0.8F, 1}));
  EXPECT_EQ((*found)[2], (Detection{70, 40, 90, 50, 0.5F, 1}));
  EXPECT_EQ((*found)[3], (Detection{0, 0, 12, 0, 0.25F, 1}));
  const auto best = decode_yolo(output, 0, mapping, {.several_classes = false});
  EXPECT_EQ(best->size(), 3U);
  EXPECT_EQ(decode_yolo(output, 0, mapping, {.max_detections = 2})->size(), 2U);
  EXPECT_EQ(decode_yolo(output, 1, mapping).error().code, Code::shape_mismatch);
  EXPECT_EQ(decode_yolo(Tensor(DType::f32, {1, 4, 9}), 0, mapping).error().code, Code::shape_mismatch);
}

TEST(CocoMap, HandComputedCase) {
  CocoEvaluator evaluator;
  const std::vector<GroundTruth> truths{{0, 0, 10, 10, 0}, {20, 0, 30, 10, 0}};
  // The first box overlaps by 0.8 (right up to 0.8), the second detection hits nothing.
  evaluator.add(std::vector<Detection>{{0, 0, 8, 10, 0.9, 0}, {50, 50, 60, 60, 0.8, 0}}, truths);
  const CocoMap map = evaluator.compute();
  const double half = 51.0 / 101;  // precision 1 up to recall 0.5
  EXPECT_NEAR(map.map50, half, 1e-12);
  EXPECT_NEAR(map.map50_95, half * 7 / 10, 1e-12);
  EXPECT_NEAR(map.ap50_95_by_class.at(0), map.map50_95, 1e-12);
}

TEST(CocoMap, NothingToFind) {
  CocoEvaluator evaluator;
  evaluator.add(std::vector<Detection>{{0, 0, 8, 10, 0.9, 0}}, {});
  EXPECT_EQ(evaluator.compute().map50, -1);
  evaluator.add({}, std::vector<GroundTruth>{{0, 0, 10, 10, 4}});
  EXPECT_EQ(evaluator.compute().map50, 0);
  EXPECT_EQ(evaluator.pictures(), 2);
}

TEST(CocoMap, CrowdsAreNeitherRightNorWrong) {
  CocoEvaluator evaluator;
  evaluator.add(std::vector<Detection>{{0, 0, 10, 10, 0.5, 0}, {50, 50, 60, 60, 0.9, 0}, {70, 70, 80, 80, 0.8, 0}},
                std::vector<GroundTruth>{{0, 0, 10, 10, 0}, {40, 40, 90, 90, 0, true}});
  EXPECT_NEAR(evaluator.compute().map50, 1, 1e-12);
}

}  // namespace
}  // namespace planish
