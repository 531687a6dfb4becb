#include "planish/data/preprocess.h"

#include <gtest/gtest.h>

#include <filesystem>

namespace planish {
namespace {

std::vector<float> run(const Preprocess& p, const Image& image, const InputSize& size,
                       ImageMapping* mapping = nullptr) {
  std::vector<float> out(static_cast<size_t>(size.element_count()));
  const auto result = preprocess_image(p, image, size, out);
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message());
  if (result.ok() && mapping != nullptr) *mapping = result.value();
  return out;
}

Image one_pixel() {
  Image image = Image::filled(1, 1, 0);
  image.pixels = {10, 20, 30};
  return image;
}

TEST(Preprocess, PresetsSurviveJson) {
  for (const std::string& name : preprocess_preset_names()) {
    const auto preset = load_preprocess(name);
    ASSERT_TRUE(preset.ok());
    const auto back = preprocess_from_json(preprocess_to_json(preset.value()), "p.json");
    ASSERT_TRUE(back.ok()) << back.error().message();
    EXPECT_EQ(back.value(), preset.value());
  }
}

TEST(Preprocess, SavedFileIsLoaded) {
  const std::string path = (std::filesystem::temp_directory_path() / "planish_preprocess_test.json").string();
  const Preprocess preset = preprocess_preset("caffe").take_value();
  ASSERT_TRUE(save_preprocess(path, preset).ok());
  EXPECT_EQ(load_preprocess(path).value(), preset);
  std::filesystem::remove(path);
}

TEST(Preprocess, JsonMayBuildOnAPreset) {
  const auto p = preprocess_from_json(R"({"preset": "imagenet", "resize_size": 232, "mean": 0.5})", "p.json");
  ASSERT_TRUE(p.ok()) << p.error().message();
  EXPECT_EQ(p->resize_size, 232);
  EXPECT_EQ(p->mean, (std::array<double, 3>{0.5, 0.5, 0.5}));
  EXPECT_EQ(p->std[0], 0.229);
  EXPECT_EQ(p->name, "custom");
}

TEST(Preprocess, JsonErrorsNameKeyAndAllowedValues) {
  const std::vector<std::array<std::string, 3>> cases{
      {R"({"resise": "none"})", "\"resise\"", "resize, resize_size"},
      {R"({"resize": "bicubic"})", "\"resize\"", "none, shorter_side, stretch, letterbox"},
      {R"({"order": 3})", "\"order\"", "rgb, bgr"},
      {R"({"pad_value": 256})", "\"pad_value\"", "from 0 to 255"},
      {R"({"pad_value": 1.5})", "\"pad_value\"", "whole number"},
      {R"({"std": [1, 0, 1]})", "\"std\"", "other than 0"},
      {R"({"mean": [1, 2]})", "\"mean\"", "three numbers"},
      {R"({"scale": "1/255"})", "\"scale\"", "a number"},
      {R"({"preset": "imagnet"})", "\"preset\"", "imagenet, yolo, caffe, cifar10, raw"},
      {R"({"preset": 5})", "\"preset\"", "imagenet"},
      {R"([1])", "JSON object", "preset"}};
  for (const auto& [text, cause, remedy] : cases) {
    const auto result = preprocess_from_json(text, "p.json");
    ASSERT_FALSE(result.ok()) << text;
    EXPECT_NE(result.error().what.find(cause), std::string::npos) << result.error().message();
    EXPECT_NE(result.error().fix.find(remedy), std::string::npos) << result.error().message();
    EXPECT_EQ(result.error().file, "p.json");
  }
  EXPECT_NE(load_preprocess("imagnet").error().fix.find("imagenet, yolo"), std::string::npos);
}

TEST(Preprocess, OrderScaleMeanAndLayout) {
  Preprocess p{.order = ChannelOrder::bgr, .scale = 0.5, .mean = {1, 2, 3}, .std = {1, 2, 4}};
  EXPECT_EQ(run(p, one_pixel(), {3, 1, 1}), (std::vector<float>{14, 4, 0.5F}));
  p.layout = PixelLayout::nhwc;
  Image two = Image::filled(2, 1, 0);
  two.pixels = {10, 20, 30, 30, 20, 10};
  EXPECT_EQ(run(p, two, {3, 1, 2}), (std::vector<float>{14, 4, 0.5F, 4, 4, 3}));
}

TEST(Preprocess, ImagenetScalesTheMarginWithTheInput) {
  // A picture whose shorter side is already 256 is only cropped at 224.
  Image image = Image::filled(256, 300, 0);
  image.row(38)[16 * 3] = 255;
  ImageMapping mapping;
  const auto out = run(preprocess_preset("imagenet").value(), image, {3, 224, 224}, &mapping);
  EXPECT_EQ(mapping.offset_x, -16);
  EXPECT_EQ(mapping.offset_y, -38);
  EXPECT_NEAR(out[0], (1 - 0.485) / 0.229, 1e-6);
  run(preprocess_preset("imagenet").value(), image, {3, 299, 299}, &mapping);
  EXPECT_NEAR(mapping.scale_x, 342.0 / 256, 1e-9);
}

TEST(Preprocess, CentreRoundsDownAndCentreEvenToEven) {
  const Image image = Image::filled(8, 10, 0);
  ImageMapping mapping;
  run({.crop = CropMode::centre}, image, {3, 3, 3}, &mapping);  // rests 5 and 7
  EXPECT_EQ(mapping.offset_x, -2);
  EXPECT_EQ(mapping.offset_y, -3);
  run({.crop = CropMode::centre_even}, image, {3, 3, 3}, &mapping);
  EXPECT_EQ(mapping.offset_x, -2);
  EXPECT_EQ(mapping.offset_y, -4);
}

TEST(Preprocess, LetterboxReportsItsMapping) {
  ImageMapping mapping;
  const auto out = run(preprocess_preset("yolo").value(), Image::filled(100, 50, 255), {3, 64, 64}, &mapping);
  EXPECT_DOUBLE_EQ(mapping.scale_x, 0.64);
  EXPECT_EQ(mapping.offset_x, 0);
  EXPECT_EQ(mapping.offset_y, 16);
  EXPECT_FLOAT_EQ(out[0], 114.0F / 255);
  EXPECT_FLOAT_EQ(out[15 * 64 + 63], 114.0F / 255);
  EXPECT_FLOAT_EQ(out[16 * 64], 1);
  EXPECT_FLOAT_EQ(out[47 * 64], 1);
  EXPECT_FLOAT_EQ(out[48 * 64], 114.0F / 255);
  EXPECT_EQ(mapping.image_width, 100);
}

TEST(Preprocess, WrongSizesAreErrors) {
  std::vector<float> out(3);
  const auto result = preprocess_image({}, Image::filled(2, 2, 0), {3, 1, 1}, out);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, Code::shape_mismatch);
  EXPECT_FALSE(preprocess_image({}, one_pixel(), {3, 2, 2}, out).ok());
  const Image sliver = Image::filled(1, 60000, 0);
  std::vector<float> input(3 * 224 * 224);
  EXPECT_EQ(preprocess_image(preprocess_preset("imagenet").value(), sliver, {3, 224, 224}, input).error().code,
            Code::unsupported);
}

TEST(Preprocess, InputSizeFollowsTheLayout) {
  EXPECT_EQ(input_size_of(Shape{-1, 3, 20, 30}, PixelLayout::nchw).value(), (InputSize{3, 20, 30}));
  EXPECT_EQ(input_size_of(Shape{4, 20, 30, 1}, PixelLayout::nhwc).value(), (InputSize{1, 20, 30}));
  for (const Shape& bad : {Shape{1, 20, 30, 3}, Shape{1, 3, -1, 30}, Shape{3, 20, 30}, Shape{1, 3, 1 << 20, 1 << 20}})
    EXPECT_EQ(input_size_of(bad, PixelLayout::nchw).error().code, Code::shape_mismatch);
}

}  // namespace
}  // namespace planish
