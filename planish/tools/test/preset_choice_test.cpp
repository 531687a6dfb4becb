#include "planish/tools/calibration/preset_choice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

namespace planish::tools {
namespace {

using Rows = std::vector<std::vector<float>>;

/// Probabilities of `classes`, `sure` on one class per picture, taken in turns out of `different`.
Rows answers(size_t pictures, size_t classes, float sure, size_t different) {
  Rows rows;
  for (size_t i = 0; i < pictures; ++i) {
    rows.emplace_back(classes, (1 - sure) / static_cast<float>(classes - 1));
    rows.back()[i % different] = sure;
  }
  return rows;
}

TEST(PresetChoice, WeighsSureAndDifferentAnswers) {
  const Rows telling = answers(16, 20, 0.99F, 16);
  const PresetEvidence good = weigh_answers("caffe", telling, telling);
  EXPECT_GT(good.information, 2.5);
  EXPECT_NEAR(good.confidence, 0.99, 1e-5);
  EXPECT_NEAR(good.steadiness, 1, 1e-5);
  const Rows alike = answers(16, 20, 0.99F, 1);
  EXPECT_NEAR(weigh_answers("raw", alike, alike).information, 0, 1e-5);
  const Rows shrugs = answers(16, 20, 0.05F, 16);
  EXPECT_NEAR(weigh_answers("raw", shrugs, shrugs).information, 0, 1e-5);
}

TEST(PresetChoice, TakesLogitsAndRefusesWhatIsNotFinite) {
  Rows logits = answers(8, 10, 0.9F, 8);
  for (auto& row : logits)
    for (float& v : row) v = std::log(v) + 3;
  EXPECT_NEAR(weigh_answers("imagenet", logits, logits).confidence, 0.9, 1e-4);
  logits[3][2] = NAN;
  EXPECT_EQ(weigh_answers("imagenet", logits, logits).score(), 0);
  EXPECT_EQ(weigh_answers("imagenet", {}, {}).score(), 0);
}

TEST(PresetChoice, LeavesTheGuessUnlessAnotherIsClearlyBetter) {
  const auto evidence = [](double information, double steadiness) {
    return PresetEvidence{.preset = "x", .confidence = 0.5, .information = information, .steadiness = steadiness};
  };
  EXPECT_EQ(prefer_preset({evidence(0.15, 0.96), evidence(2.3, 0.75)}, 0), 1U);
  EXPECT_EQ(prefer_preset({evidence(1.5, 0.9), evidence(2.3, 0.9)}, 0), 0U) << "better, but not clearly";
  EXPECT_EQ(prefer_preset({evidence(0.01, 1), evidence(0.1, 1)}, 0), 0U) << "noise";
  EXPECT_EQ(prefer_preset({evidence(0.1, 1), evidence(2.2, 0.7), evidence(2.3, 0.7)}, 0), 1U) << "a tie";
  EXPECT_EQ(prefer_preset({evidence(0.1, 1), evidence(1.2, 0.7), evidence(2.3, 0.7)}, 0), 2U);
}

TEST(PresetChoice, SqueezeNetTellsCaffeFromImagenet) {
  const std::string pictures = "../shared/data/imagenet500";
  const std::string file = "../shared/models/squeezenet1_1.onnx";
  if (!std::filesystem::exists(pictures) || !std::filesystem::exists(file)) GTEST_SKIP() << "needs shared/";
  const auto model = api::Model::read(file);
  ASSERT_TRUE(model.ok());
  PictureList list;
  for (const auto& entry : std::filesystem::directory_iterator(pictures))
    if (entry.path().extension() == ".JPEG") list.names.push_back(entry.path().string());
  std::sort(list.names.begin(), list.names.end());
  list.load = [&list](int64_t i) { return load_image(list.names[static_cast<size_t>(i)]); };
  const PresetChoice choice = choose_preset(*model, list, "imagenet", {}, 2);
  EXPECT_EQ(choice.preset, "caffe");
  EXPECT_NE(choice.evidence.find("'imagenet'"), std::string::npos) << choice.evidence;
  EXPECT_EQ(choose_preset(*model, list, "caffe", {}, 2).preset, "caffe");
}

TEST(PresetChoice, TheGuessStaysForOtherNetworks) {
  const auto model = api::Model::read("demo/digits.onnx");  // grey pictures
  ASSERT_TRUE(model.ok());
  PictureList list;
  list.names.assign(20, "none");
  list.load = [](int64_t) { return Result<Image>(Image{}); };
  const PresetChoice choice = choose_preset(*model, list, "raw", {}, 1);
  EXPECT_EQ(choice.preset, "raw");
  EXPECT_TRUE(choice.evidence.empty());
}

}  // namespace
}  // namespace planish::tools
