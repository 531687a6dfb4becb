#include "planish/tactics/half_weights.h"

#include <cmath>

#include "planish/base/half.h"
#include "planish/base/parallel.h"

namespace planish {
namespace {

constexpr std::string_view kF16 = "|f16";
constexpr std::string_view kBf16 = "|bf16";

std::string_view suffix_of(DType type) { return type == DType::f16 ? kF16 : kBf16; }

}  // namespace

DType stored_type(const PackedConstant& packed) {
  if (packed.format.ends_with(kF16)) return DType::f16;
  return packed.format.ends_with(kBf16) ? DType::bf16 : DType::f32;
}

bool is_half_stored(const PackedConstant& packed) { return stored_type(packed) != DType::f32; }

std::optional<PackedConstant> store_half(const PackedConstant& packed, DType type) {
  const auto count = static_cast<int64_t>(packed.data.bytes() / sizeof(float));
  PackedConstant out{packed.input, packed.format + std::string(suffix_of(type)), Tensor(type, {count})};
  const auto* from = static_cast<const float*>(packed.data.raw());
  auto* to = static_cast<uint16_t*>(out.data.raw());
  for (int64_t i = 0; i < count; ++i) {
    to[i] = type == DType::f16 ? f16::from_float(from[i]) : bf16::from_float(from[i]);
    const float back = type == DType::f16 ? f16::to_float(to[i]) : float(bf16::from_bits(to[i]));
    if (std::isinf(back) && !std::isinf(from[i])) return std::nullopt;
  }
  return out;
}

Result<PackedConstant> expand_half(const PackedConstant& packed) {
  const DType type = stored_type(packed);
  if (type == DType::f32) return packed;
  if (packed.data.bytes() % sizeof(uint16_t) != 0)
    return Error{.code = Code::corrupt,
                 .what = "half precision weights are no whole number of elements",
                 .fix = "build the engine again"};
  const auto count = static_cast<int64_t>(packed.data.bytes() / sizeof(uint16_t));
  PackedConstant out{packed.input, packed.format.substr(0, packed.format.size() - suffix_of(type).size()),
                     Tensor(DType::u8, {count * static_cast<int64_t>(sizeof(float))})};
  const auto* from = static_cast<const uint16_t*>(packed.data.raw());
  auto* to = static_cast<float*>(out.data.raw());
  constexpr int64_t kElementsPerThread = 1 << 16;
  parallel_for(count, kElementsPerThread, [&](int64_t begin, int64_t end) {
    if (type == DType::f16)
      for (int64_t i = begin; i < end; ++i) to[i] = f16::to_float(from[i]);
    else
      for (int64_t i = begin; i < end; ++i) to[i] = bf16::from_bits(from[i]);
  });
  return out;
}

}  // namespace planish
