#include "planish/quant/calibration_cache.h"

#include <gtest/gtest.h>

namespace planish {
namespace {

constexpr std::string_view kText =
    "TRT-101300-EntropyCalibration2\n"
    "images: 3c010a14\n"
    "/model.0/conv/Conv_output_0: 3e2f1b40\n"
    "(Unnamed Layer* 4) [Constant]: x:0: 3d65992f\n";

TEST(CalibrationCache, IsTheSameTextAfterReadingAndWriting) {
  std::vector<std::string> warnings;
  const auto cache = parse_calibration_cache(kText, "c", &warnings);
  ASSERT_TRUE(cache.ok()) << cache.error().message();
  EXPECT_TRUE(warnings.empty());
  EXPECT_EQ(calibration_cache_text(*cache), kText);
  ASSERT_EQ(cache->scales.size(), 3U);
  EXPECT_NEAR(cache->scales[0].second, 0.00787593, 1e-8);
  EXPECT_EQ(cache->scales[2].first, "(Unnamed Layer* 4) [Constant]: x:0");
}

TEST(CalibrationCache, AcceptsOtherVersionsAndStrippedZerosWithAWarning) {
  std::vector<std::string> warnings;
  const auto cache = parse_calibration_cache("TRT-8601-MinMaxCalibration\r\nx: fffffff\r\ny: 0\r\nz: 40eff\r\n",
                                             "old.cache", &warnings);
  ASSERT_TRUE(cache.ok()) << cache.error().message();
  ASSERT_EQ(cache->scales.size(), 1U);
  EXPECT_EQ(cache->scales[0].first, "x");
  ASSERT_EQ(warnings.size(), 3U);
  EXPECT_NE(warnings[0].find("MinMaxCalibration"), std::string::npos);
  EXPECT_NE(warnings[1].find("'y'"), std::string::npos);
  EXPECT_NE(warnings[2].find("'z'"), std::string::npos) << "the scale of a line that was cut off is tiny";
}

TEST(CalibrationCache, RefusesWhatIsNoCacheAndNamesTheLine) {
  for (const char* text :
       {"", "\n", "hello\n", "\x89PNG", "TRT-1-EntropyCalibration2\nno scale here\n", "TRT-1-E\nx: 123456789\n",
        "TRT-1-E\nx: zz\n", "TRT-1-E\nx: 7fc00000\n", "TRT-1-E\nx: 7f800000\n", "TRT-1-E\nx: bf800000\n",
        "TRT-1-E\n: 3f800000\n", "TRT-1-E\nx: 3f800000\ny: 40eff", "TRT-1-E\nx: 3f800000\nlong_na"}) {
    const auto cache = parse_calibration_cache(text, "f.cache");
    ASSERT_FALSE(cache.ok()) << text;
    EXPECT_EQ(cache.error().code, Code::corrupt);
    EXPECT_EQ(cache.error().file, "f.cache");
  }
  EXPECT_NE(parse_calibration_cache("TRT-1-E\nx: zz\n", "f").error().what.find("line 2"), std::string::npos);
}

}  // namespace
}  // namespace planish
