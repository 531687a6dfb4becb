#include "planish/ops/element_buffer.h"

#include <cmath>
#include <limits>
#include <type_traits>

#include "planish/base/half.h"

namespace planish {
namespace {

/// Conversion that is defined for every value: integers wrap, floats truncate and saturate, NaN becomes 0.
template <typename To, typename From>
To convert(From v) {
  if constexpr (std::is_same_v<From, f16> || std::is_same_v<From, bf16>) {
    return convert<To>(static_cast<float>(v));
  } else if constexpr (std::is_same_v<To, f16> || std::is_same_v<To, bf16>) {
    return To(static_cast<float>(v));
  } else if constexpr (std::is_same_v<To, bool>) {
    return v != From{0};
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    constexpr auto kLow = static_cast<From>(std::numeric_limits<To>::min());
    constexpr auto kHigh = static_cast<From>(std::numeric_limits<To>::max());
    if (!(v > kLow)) return std::isnan(v) ? To{0} : std::numeric_limits<To>::min();
    if (v >= kHigh) return std::numeric_limits<To>::max();
    return static_cast<To>(v);
  } else {
    return static_cast<To>(v);
  }
}

template <typename Stored, typename T>
void load_typed(const void* data, int64_t first, int64_t stride, int64_t count, T* out) {
  const auto* in = static_cast<const Stored*>(data) + first;
  if (stride == 0) {
    const T v = count > 0 ? convert<T>(*in) : T{};
    for (int64_t i = 0; i < count; ++i) out[i] = v;
  } else if (stride == 1) {
    for (int64_t i = 0; i < count; ++i) out[i] = convert<T>(in[i]);
  } else {
    for (int64_t i = 0; i < count; ++i) out[i] = convert<T>(in[i * stride]);
  }
}

template <typename Stored, typename T>
void store_typed(void* data, int64_t first, int64_t stride, int64_t count, const T* in) {
  auto* out = static_cast<Stored*>(data) + first;
  if (stride == 1) {
    for (int64_t i = 0; i < count; ++i) out[i] = convert<Stored>(in[i]);
  } else {
    for (int64_t i = 0; i < count; ++i) out[i * stride] = convert<Stored>(in[i]);
  }
}

/// 4- and 2-bit integers keep the low bits of the (truncated) value.
template <typename T>
double narrow_integer(DType t, T v) {
  const int64_t count = int64_t{1} << dtype_bits(t);
  const int64_t low = convert<int64_t>(v) & (count - 1);
  return static_cast<double>(dtype_is_signed(t) && low >= count / 2 ? low - count : low);
}

}  // namespace

Domain domain_of(DType t) {
  if (dtype_is_float(t)) return Domain::real;
  return dtype_is_signed(t) ? Domain::sint : Domain::uint;
}

template <typename T>
void load_elements(DType t, const void* data, int64_t first, int64_t stride, int64_t count, T* out) {
  switch (t) {
    case DType::f32: return load_typed<float>(data, first, stride, count, out);
    case DType::f64: return load_typed<double>(data, first, stride, count, out);
    case DType::f16: return load_typed<f16>(data, first, stride, count, out);
    case DType::bf16: return load_typed<bf16>(data, first, stride, count, out);
    case DType::i8: return load_typed<int8_t>(data, first, stride, count, out);
    case DType::u8: return load_typed<uint8_t>(data, first, stride, count, out);
    case DType::i16: return load_typed<int16_t>(data, first, stride, count, out);
    case DType::u16: return load_typed<uint16_t>(data, first, stride, count, out);
    case DType::i32: return load_typed<int32_t>(data, first, stride, count, out);
    case DType::u32: return load_typed<uint32_t>(data, first, stride, count, out);
    case DType::i64: return load_typed<int64_t>(data, first, stride, count, out);
    case DType::u64: return load_typed<uint64_t>(data, first, stride, count, out);
    default:
      for (int64_t i = 0; i < count; ++i) {
        const double v = load_element(t, data, first + i * stride);
        out[i] = dtype_is_float(t) ? convert<T>(v) : static_cast<T>(static_cast<int64_t>(v));
      }
  }
}

template <typename T>
void store_elements(DType t, void* data, int64_t first, int64_t stride, int64_t count, const T* in) {
  switch (t) {
    case DType::f32: return store_typed<float>(data, first, stride, count, in);
    case DType::f64: return store_typed<double>(data, first, stride, count, in);
    case DType::f16: return store_typed<f16>(data, first, stride, count, in);
    case DType::bf16: return store_typed<bf16>(data, first, stride, count, in);
    case DType::i8: return store_typed<int8_t>(data, first, stride, count, in);
    case DType::u8: return store_typed<uint8_t>(data, first, stride, count, in);
    case DType::i16: return store_typed<int16_t>(data, first, stride, count, in);
    case DType::u16: return store_typed<uint16_t>(data, first, stride, count, in);
    case DType::i32: return store_typed<int32_t>(data, first, stride, count, in);
    case DType::u32: return store_typed<uint32_t>(data, first, stride, count, in);
    case DType::i64: return store_typed<int64_t>(data, first, stride, count, in);
    case DType::u64: return store_typed<uint64_t>(data, first, stride, count, in);
    case DType::boolean: return store_typed<bool>(data, first, stride, count, in);
    case DType::u4:
    case DType::i4:
    case DType::u2:
    case DType::i2:
      for (int64_t i = 0; i < count; ++i) store_element(t, data, first + i * stride, narrow_integer(t, in[i]));
      return;
    default:
      for (int64_t i = 0; i < count; ++i) store_element(t, data, first + i * stride, static_cast<double>(in[i]));
  }
}

template void load_elements(DType, const void*, int64_t, int64_t, int64_t, double*);
template void load_elements(DType, const void*, int64_t, int64_t, int64_t, float*);
template void load_elements(DType, const void*, int64_t, int64_t, int64_t, int64_t*);
template void load_elements(DType, const void*, int64_t, int64_t, int64_t, uint64_t*);
template void store_elements(DType, void*, int64_t, int64_t, int64_t, const double*);
template void store_elements(DType, void*, int64_t, int64_t, int64_t, const float*);
template void store_elements(DType, void*, int64_t, int64_t, int64_t, const int64_t*);
template void store_elements(DType, void*, int64_t, int64_t, int64_t, const uint64_t*);

}  // namespace planish
