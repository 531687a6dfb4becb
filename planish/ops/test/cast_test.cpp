#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "planish/ops/test/tensor_values.h"

namespace planish::test {
namespace {

std::vector<double> cast(DType from, DType to, std::vector<double> values, std::map<std::string, Attr> attrs = {}) {
  attrs["to"] = static_cast<int64_t>(to);
  const Tensor x = tensor(from, {static_cast<int64_t>(values.size())}, values);
  return values_of(run_node({.op = "Cast", .attrs = std::move(attrs)}, {x}));
}

TEST(Cast, TruncatesRealsAndWrapsIntegers) {
  EXPECT_EQ(cast(DType::f32, DType::i32, {-1.9, 1.9, 2.5}), (std::vector<double>{-1, 1, 2}));
  EXPECT_EQ(cast(DType::i16, DType::i8, {200}), (std::vector<double>{-56}));
  EXPECT_EQ(cast(DType::f32, DType::boolean, {-0.0, 0.25, NAN}), (std::vector<double>{0, 1, 1}));
  EXPECT_EQ(cast(DType::f32, DType::i4, {-9, 7.9}), (std::vector<double>{7, 7}));
}

TEST(Cast, KeepsEveryBitOf64BitIntegers) {
  Tensor x(DType::u64, {1});
  x.data<uint64_t>()[0] = 0xffffffffffffff01U;
  const auto out = run_node({.op = "Cast", .attrs = {{"to", static_cast<int64_t>(DType::i64)}}}, {x});
  EXPECT_EQ(out.value()[0].int_at(0), -255);
}

TEST(Cast, Fp8SaturatesUnlessToldOtherwise) {
  const double inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(cast(DType::f32, DType::f8e4m3fn, {1e6, -inf}), (std::vector<double>{448, -448}));
  EXPECT_TRUE(std::isnan(cast(DType::f32, DType::f8e4m3fn, {1e6}, {{"saturate", int64_t{0}}})[0]));
  EXPECT_EQ(cast(DType::f32, DType::f8e5m2, {1e6}, {{"saturate", int64_t{0}}})[0], inf);
}

TEST(Cast, E8m0RoundsAsAsked) {
  const auto rounded = [](const char* mode) {
    return cast(DType::f32, DType::f8e8m0, {1.0, 1.25, 1.5, 1.75}, {{"round_mode", std::string(mode)}});
  };
  EXPECT_EQ(rounded("up"), (std::vector<double>{1, 2, 2, 2}));
  EXPECT_EQ(rounded("down"), (std::vector<double>{1, 1, 1, 1}));
  EXPECT_EQ(rounded("nearest"), (std::vector<double>{1, 1, 2, 2}));
}

TEST(Cast, RefusesStringsComplexAndUnknownTypes) {
  for (const int64_t to : {8, 14, 99, -1})
    EXPECT_FALSE(run_node({.op = "Cast", .attrs = {{"to", to}}}, {tensor(DType::f32, {1}, {1})}).ok()) << to;
  EXPECT_FALSE(run_node({.op = "Cast"}, {tensor(DType::f32, {1}, {1})}).ok());
}

TEST(CastLike, TakesTheTypeOfItsSecondInput) {
  const auto out = run_node({.op = "CastLike"}, {tensor(DType::f32, {2}, {1.5, 3}), Tensor(DType::u8, {})});
  EXPECT_EQ(out.value()[0].dtype(), DType::u8);
  EXPECT_EQ(values_of(out), (std::vector<double>{1, 3}));
}

TEST(BitCast, KeepsBitsAndRefusesOtherWidths) {
  const Tensor one = tensor(DType::f32, {1}, {1.0});
  const auto bits = run_node({.op = "BitCast", .attrs = {{"to", static_cast<int64_t>(DType::u32)}}}, {one});
  EXPECT_EQ(values_of(bits), (std::vector<double>{0x3f800000}));
  EXPECT_FALSE(run_node({.op = "BitCast", .attrs = {{"to", static_cast<int64_t>(DType::u16)}}}, {one}).ok());
}

}  // namespace
}  // namespace planish::test
