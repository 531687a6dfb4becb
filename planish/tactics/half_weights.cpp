#include "planish/tactics/half_weights.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <new>

#include "planish/base/half.h"
#include "planish/base/huge_pages.h"
#include "planish/base/parallel.h"

namespace planish {
namespace {

constexpr std::string_view kF16 = "|f16";
constexpr std::string_view kBf16 = "|bf16";

/// f16 bits to f32 without branches or tables, so that loops over it vectorise for every processor. Subnormals are made
/// by a subtraction instead of a multiplication by 2^112, which would run into slow f32 subnormals.
float widen_f16(uint16_t half) {
  constexpr uint32_t kRebias = (127U - 15U) << 23;
  constexpr uint32_t kHighest = 0x7c00U << 13;
  const uint32_t shifted = (half & 0x7fffU) << 13;
  const uint32_t exponent = shifted & kHighest;
  const uint32_t normal = shifted + kRebias + (exponent == kHighest ? kRebias : 0U);
  const float subnormal =
      std::bit_cast<float>(shifted + kRebias + (1U << 23)) - std::bit_cast<float>(kRebias + (1U << 23));
  const uint32_t magnitude = exponent == 0 ? std::bit_cast<uint32_t>(subnormal) : normal;
  return std::bit_cast<float>(magnitude | (static_cast<uint32_t>(half & 0x8000U) << 16));
}

float widen_bf16(uint16_t half) { return std::bit_cast<float>(static_cast<uint32_t>(half) << 16); }

std::string_view suffix_of(DType type) { return type == DType::f16 ? kF16 : kBf16; }

}  // namespace

Tensor uninitialized_f32(int64_t count) {
  constexpr size_t kCacheLineBytes = 64;
  void* p = allocate_pages(static_cast<size_t>(count) * sizeof(float), kCacheLineBytes);
  if (p == nullptr) throw std::bad_alloc();
  std::shared_ptr<const void> owner(p, [](const void* q) { std::free(const_cast<void*>(q)); });
  return Tensor::share(DType::f32, {count}, std::move(owner), p);
}

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

Result<PackedConstant> expand_half(const PackedConstant& packed, WidenHalf widen) {
  const DType type = stored_type(packed);
  if (type == DType::f32) return packed;
  if (packed.data.bytes() % sizeof(uint16_t) != 0)
    return Error{.code = Code::corrupt,
                 .what = "half precision weights are no whole number of elements",
                 .fix = "build the engine again"};
  const auto count = static_cast<int64_t>(packed.data.bytes() / sizeof(uint16_t));
  PackedConstant out{packed.input, packed.format.substr(0, packed.format.size() - suffix_of(type).size()),
                     uninitialized_f32(count)};
  const auto* from = static_cast<const uint16_t*>(packed.data.raw());
  auto* to = static_cast<float*>(out.data.raw());
  constexpr int64_t kElementsPerThread = 1 << 16;
  parallel_for(count, kElementsPerThread, [&](int64_t begin, int64_t end) {
    if (widen != nullptr)
      widen(type, end - begin, from + begin, to + begin);
    else if (type == DType::f16)
      for (int64_t i = begin; i < end; ++i) to[i] = widen_f16(from[i]);
    else
      for (int64_t i = begin; i < end; ++i) to[i] = widen_bf16(from[i]);
  });
  return out;
}

Result<std::optional<PackedConstant>> store_half(const Tactic& tactic, const NodeView& view,
                                                 const PackedConstant& packed, DType type) {
  if (tactic.to_roundable == nullptr) return store_half(packed, type);
  const PackedConstant form = PLANISH_TRY(tactic.to_roundable(view, packed));
  return store_half(form, type);
}

Result<PackedConstant> restore_half(const Tactic* tactic, const Shape& shape, const PackedConstant& packed,
                                    WidenHalf widen) {
  PackedConstant whole = PLANISH_TRY(expand_half(packed, widen));
  if (!is_half_stored(packed) || tactic == nullptr || tactic->from_roundable == nullptr) return whole;
  return tactic->from_roundable(shape, whole);
}

}  // namespace planish
