#include "planish/kernels/cpu/convert/convert.h"
#include "planish/kernels/cpu/convert/tile.h"

#include <bit>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "planish/base/half.h"

namespace planish::kernels {
namespace {

TEST(Convert, EveryVariantAgreesWithTheScalarConversion) {
  std::vector<uint16_t> halves(65536 + 5);  // every bit pattern, and a length that leaves a tail
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
  std::vector<float> floats;
  for (uint32_t bits = 0; bits < 0xffff0000U; bits += 49157) floats.push_back(std::bit_cast<float>(bits));
  for (const float f : {0.0F, -0.0F, 65504.0F, 65519.9F, 65520.0F, 1e-8F, 1.00048828125F, 1.00390625F})
    floats.push_back(f);
  const auto n = static_cast<int64_t>(halves.size());
  const auto m = static_cast<int64_t>(floats.size());
  for (const ConvertKernels& k : convert_kernels()) {
    if (!cpu_features().has(k.isa)) continue;
    std::vector<float> wide(halves.size());
    std::vector<uint16_t> narrow(floats.size());
    const auto same = [](float a, float b) { return a == b ? std::signbit(a) == std::signbit(b) : a != a && b != b; };
    int64_t wrong = 0;
    k.f16_to_f32(n, halves.data(), wide.data());
    for (size_t i = 0; i < wide.size(); ++i) wrong += !same(wide[i], static_cast<float>(f16::from_bits(halves[i])));
    EXPECT_EQ(wrong, 0) << k.id << " f16_to_f32";
    k.bf16_to_f32(n, halves.data(), wide.data());
    for (size_t i = 0; i < wide.size(); ++i) wrong += !same(wide[i], static_cast<float>(bf16::from_bits(halves[i])));
    EXPECT_EQ(wrong, 0) << k.id << " bf16_to_f32";
    k.f32_to_f16(m, floats.data(), narrow.data());
    for (size_t i = 0; i < narrow.size(); ++i)
      wrong += !same(static_cast<float>(f16::from_bits(narrow[i])), static_cast<float>(f16(floats[i])));
    EXPECT_EQ(wrong, 0) << k.id << " f32_to_f16";
    k.f32_to_bf16(m, floats.data(), narrow.data());
    for (size_t i = 0; i < narrow.size(); ++i)
      wrong += !same(static_cast<float>(bf16::from_bits(narrow[i])), static_cast<float>(bf16(floats[i])));
    EXPECT_EQ(wrong, 0) << k.id << " f32_to_bf16";
  }
}

TEST(Convert, TilesOfEveryTypeReadBackWhatWasWritten) {
  const std::vector<float> values{0.0F, -1.5F, 3.0F, 0.25F, 100.0F, -0.0F, 7.0F};
  const auto n = static_cast<int64_t>(values.size());
  for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
    std::vector<float> memory(values.size());
    std::vector<float> back(values.size());
    tile_writer(type)(n, values.data(), memory.data());
    tile_reader(type)(n, memory.data(), back.data());
    EXPECT_EQ(back, values) << dtype_name(type);
  }
  std::vector<float> bytes(256 + 7);
  for (const DType type : {DType::i8, DType::u8}) {
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<float>(i % 256) - (type == DType::i8 ? 128 : 0);
    std::vector<uint8_t> memory(bytes.size());
    std::vector<float> back(bytes.size());
    for (const ConvertKernels& k : convert_kernels()) {
      if (!cpu_features().has(k.isa)) continue;
      const auto count = static_cast<int64_t>(bytes.size());
      if (type == DType::i8) {
        k.f32_to_i8(count, bytes.data(), reinterpret_cast<int8_t*>(memory.data()));
        k.i8_to_f32(count, reinterpret_cast<const int8_t*>(memory.data()), back.data());
      } else {
        k.f32_to_u8(count, bytes.data(), memory.data());
        k.u8_to_f32(count, memory.data(), back.data());
      }
      EXPECT_EQ(back, bytes) << k.id << ' ' << dtype_name(type);
      EXPECT_EQ(memory[130], type == DType::i8 ? 2 : 130) << k.id;
    }
  }
  EXPECT_EQ(tile_reader(DType::i64), nullptr);
  EXPECT_EQ(tile_writer(DType::boolean), nullptr);
}

}  // namespace
}  // namespace planish::kernels
