#include "planish/data/image.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include "planish/base/atomic_file.h"
#include "planish/data/resample.h"

namespace planish {
namespace {

Image gradient(int64_t width, int64_t height) {
  Image image = Image::filled(width, height, 0);
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int64_t c = 0; c < 3; ++c) image.row(y)[x * 3 + c] = static_cast<uint8_t>(x * 5 + y * 3 + c * 40);
  return image;
}

void append(std::vector<uint8_t>& out, uint64_t value, int count) {
  for (int i = 0; i < count; ++i) out.push_back(static_cast<uint8_t>(value >> 8 * i));
}

/// A 24-bit bottom-up BMP.
std::vector<uint8_t> bmp_of(const Image& image) {
  std::vector<uint8_t> out{'B', 'M'};
  append(out, 0, 8);
  append(out, 54, 4);
  append(out, 40, 4);
  append(out, static_cast<uint32_t>(image.width), 4);
  append(out, static_cast<uint32_t>(image.height), 4);
  append(out, 1 | 24 << 16, 4);
  for (int i = 0; i < 6; ++i) append(out, 0, 4);
  for (int64_t y = image.height - 1; y >= 0; --y) {
    for (int64_t x = 0; x < image.width; ++x)
      for (int c = 2; c >= 0; --c) out.push_back(image.row(y)[x * 3 + c]);
    while ((out.size() - 54) % 4 != 0) out.push_back(0);
  }
  return out;
}

std::vector<uint8_t> ppm_of(const Image& image) {
  const std::string header =
      "P6\n# a comment\n" + std::to_string(image.width) + " " + std::to_string(image.height) + "\n255\n";
  std::vector<uint8_t> out(header.begin(), header.end());
  out.insert(out.end(), image.pixels.begin(), image.pixels.end());
  return out;
}

TEST(Image, LosslessFormatsComeBack) {
  const Image image = gradient(13, 7);
  const auto png = encode_png(image);
  ASSERT_TRUE(png.ok());
  for (const auto& bytes : {png.value(), bmp_of(image), ppm_of(image)}) {
    const auto back = decode_image(bytes, "x");
    ASSERT_TRUE(back.ok()) << back.error().message();
    EXPECT_EQ(back.value(), image);
  }
}

TEST(Image, GreyPngBecomesRgb) {
  Image grey = Image::filled(4, 3, 9, 1);
  grey.pixels[5] = 200;
  const auto back = decode_image(encode_png(grey).value(), "x");
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->pixels[15], 200);
  EXPECT_EQ(back->pixels[17], 200);
}

TEST(Image, RefusalsNameFileAndCause) {
  const std::vector<std::pair<std::string, std::string>> cases{{"", "empty"},
                                                               {"hello, this is text", "first bytes"},
                                                               {"GIF89a......", "GIF"},
                                                               {"P6\n99999 99999\n255\n", "limit"},
                                                               {"P6\n4 4\n255\nabc", "ends early"},
                                                               {"P3\n1 1\n255\n1 2 3", "binary"},
                                                               {"P6\n0 4\n255\n", "0x4"},
                                                               {"\xFF\xD8\xFF\xE0", "damaged"},
                                                               {"\x89PNG\r\n\x1A\n", "damaged"},
                                                               {std::string("RIFF\x10\0\0\0WEBPVP8 ", 16), "damaged"}};
  for (const auto& [text, cause] : cases) {
    const auto result = decode_image({reinterpret_cast<const uint8_t*>(text.data()), text.size()}, "p.img");
    ASSERT_FALSE(result.ok()) << text;
    EXPECT_NE(result.error().message().find(cause), std::string::npos) << result.error().message();
    EXPECT_EQ(result.error().file, "p.img");
  }
}

void expect_survives_mutation(const std::vector<uint8_t>& original, uint32_t seed) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 150; ++round) {
    auto bytes = original;
    if (round % 4 == 0) bytes.resize(random() % bytes.size());
    for (uint32_t k = random() % 8 + 1; k-- > 0 && !bytes.empty();)
      bytes[random() % std::min<size_t>(bytes.size(), round % 2 == 0 ? 80 : bytes.size())] =
          static_cast<uint8_t>(random());
    const auto result = decode_image(bytes, "mutated");
    EXPECT_TRUE(!result.ok() || result->pixels.size() == static_cast<size_t>(result->width * result->height * 3));
  }
}

TEST(Image, MutatedFilesNeverCrash) {
  const Image image = gradient(31, 17);
  expect_survives_mutation(encode_png(image).value(), 1);
  expect_survives_mutation(bmp_of(image), 2);
  expect_survives_mutation(ppm_of(image), 3);
}

TEST(Image, TruncatedJpegIsAnError) {
  const std::string path = "../shared/data/cifar10/calib_images/cat/0000.jpg";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no ../shared";
  auto bytes = read_file_bytes(path).take_value();
  expect_survives_mutation(bytes, 4);
  const auto whole = decode_image(bytes, path);
  ASSERT_TRUE(whole.ok()) << whole.error().message();
  EXPECT_EQ(whole->width, 32);
  bytes.resize(bytes.size() * 3 / 4);
  EXPECT_EQ(decode_image(bytes, path).error().code, Code::corrupt);
}

TEST(Resample, ConstantStaysConstant) {
  const Image image = Image::filled(11, 23, 77);
  for (const Filter filter : {Filter::bilinear_antialias, Filter::bilinear})
    for (const auto& [w, h] : {std::pair{5, 9}, {40, 3}, {1, 1}, {11, 50}}) {
      const auto scaled = resize_image(image, w, h, filter);
      ASSERT_TRUE(scaled.ok());
      EXPECT_EQ(scaled.value(), Image::filled(w, h, 77));
    }
}

TEST(Resample, HalvingKnownValues) {
  Image image = Image::filled(4, 2, 0, 1);
  image.pixels = {0, 10, 20, 30, 100, 110, 120, 131};
  EXPECT_EQ(resize_image(image, 2, 1, Filter::bilinear)->pixels, (std::vector<uint8_t>{55, 75}));
  // The antialiased window of the left pixel holds columns 0 to 2 with weights 3/7, 3/7, 1/7.
  EXPECT_EQ(resize_image(image, 2, 2, Filter::bilinear_antialias)->pixels, (std::vector<uint8_t>{7, 23, 107, 123}));
}

TEST(Resample, CropPadsOutside) {
  const Image image = gradient(4, 4);
  const auto out = crop_image(image, -1, 2, 3, 4, 9);
  ASSERT_TRUE(out.ok());
  EXPECT_EQ(out->row(0)[0], 9);
  EXPECT_EQ(out->row(0)[3], image.row(2)[0]);
  EXPECT_EQ(out->row(3)[3], 9);
  EXPECT_FALSE(crop_image(image, 0, 0, 0, 3, 9).ok());
  EXPECT_FALSE(resize_image(image, int64_t{1} << 40, 2, Filter::bilinear).ok());
}

}  // namespace
}  // namespace planish
