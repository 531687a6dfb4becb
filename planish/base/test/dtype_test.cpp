#include "planish/base/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

#include "planish/base/half.h"

namespace planish {
namespace {

TEST(DType, NamesRoundTrip) {
  for (int i = 1; i <= 26; ++i) {
    const auto t = static_cast<DType>(i);
    EXPECT_EQ(dtype_from_name(dtype_name(t)), t);
    EXPECT_EQ(dtype_from_name(dtype_numpy_name(t)), t);
  }
  EXPECT_EQ(dtype_from_name("nonsense"), std::nullopt);
}

TEST(DType, HalfDecodesAndEncodesEveryCode) {
  for (uint32_t b = 0; b < 0x10000; ++b) {
    const float f = f16::to_float(static_cast<uint16_t>(b));
    if (std::isnan(f)) continue;
    EXPECT_EQ(f16::from_float(f), b) << b;
  }
  EXPECT_EQ(f16::from_float(65520.0F), 0x7c00);  // halfway to the next binade: overflows
  EXPECT_EQ(f16::from_float(65519.0F), 0x7bff);
  EXPECT_EQ(f16::from_float(0x1p-25F), 0);  // ties to even
  EXPECT_EQ(f16::from_float(0x1.8p-25F), 1);
}

TEST(DType, EightBitFloatsRoundTrip) {
  for (const DType t : {DType::f8e4m3fn, DType::f8e4m3fnuz, DType::f8e5m2, DType::f8e5m2fnuz, DType::f8e8m0}) {
    for (int b = 0; b < 256; ++b) {
      const float f = f8_to_float(t, static_cast<uint8_t>(b));
      if (std::isnan(f) || std::isinf(f)) continue;
      EXPECT_EQ(float_to_f8(t, f, true), b) << dtype_name(t) << " " << b;
    }
  }
  EXPECT_EQ(float_to_f8(DType::f8e4m3fn, 1000.0F, true), 0x7e);
  EXPECT_EQ(float_to_f8(DType::f8e4m3fn, 1000.0F, false), 0x7f);
}

TEST(DType, PackedElementsKeepTheirNeighbours) {
  uint8_t bytes[2] = {0, 0};
  store_element(DType::i4, bytes, 0, -3);
  store_element(DType::i4, bytes, 1, 7);
  store_element(DType::i4, bytes, 2, -8);
  EXPECT_EQ(load_element(DType::i4, bytes, 0), -3);
  EXPECT_EQ(load_element(DType::i4, bytes, 1), 7);
  EXPECT_EQ(load_element(DType::i4, bytes, 2), -8);
  EXPECT_EQ(dtype_bytes(DType::i4, 3), 2U);
}

}  // namespace
}  // namespace planish
