#include "planish/base/dtype.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "planish/base/half.h"

namespace planish {
namespace {

enum class Kind : uint8_t { none, floating, sint, uint, boolean, complex };

struct Row {
  DType type;
  std::string_view name;
  std::string_view numpy;
  int bits;
  Kind kind;
};

constexpr std::array kRows{
    Row{DType::undefined, "undefined", "undefined", 0, Kind::none},
    Row{DType::f32, "f32", "float32", 32, Kind::floating},
    Row{DType::u8, "u8", "uint8", 8, Kind::uint},
    Row{DType::i8, "i8", "int8", 8, Kind::sint},
    Row{DType::u16, "u16", "uint16", 16, Kind::uint},
    Row{DType::i16, "i16", "int16", 16, Kind::sint},
    Row{DType::i32, "i32", "int32", 32, Kind::sint},
    Row{DType::i64, "i64", "int64", 64, Kind::sint},
    Row{DType::string, "string", "object", 0, Kind::none},
    Row{DType::boolean, "bool", "bool", 8, Kind::boolean},
    Row{DType::f16, "f16", "float16", 16, Kind::floating},
    Row{DType::f64, "f64", "float64", 64, Kind::floating},
    Row{DType::u32, "u32", "uint32", 32, Kind::uint},
    Row{DType::u64, "u64", "uint64", 64, Kind::uint},
    Row{DType::c64, "c64", "complex64", 64, Kind::complex},
    Row{DType::c128, "c128", "complex128", 128, Kind::complex},
    Row{DType::bf16, "bf16", "bfloat16", 16, Kind::floating},
    Row{DType::f8e4m3fn, "f8e4m3fn", "float8e4m3fn", 8, Kind::floating},
    Row{DType::f8e4m3fnuz, "f8e4m3fnuz", "float8e4m3fnuz", 8, Kind::floating},
    Row{DType::f8e5m2, "f8e5m2", "float8e5m2", 8, Kind::floating},
    Row{DType::f8e5m2fnuz, "f8e5m2fnuz", "float8e5m2fnuz", 8, Kind::floating},
    Row{DType::u4, "u4", "uint4", 4, Kind::uint},
    Row{DType::i4, "i4", "int4", 4, Kind::sint},
    Row{DType::f4e2m1, "f4e2m1", "float4e2m1", 4, Kind::floating},
    Row{DType::f8e8m0, "f8e8m0", "float8e8m0", 8, Kind::floating},
    Row{DType::u2, "u2", "uint2", 2, Kind::uint},
    Row{DType::i2, "i2", "int2", 2, Kind::sint},
};

const Row& row(DType t) {
  const auto i = static_cast<size_t>(t);
  return i < kRows.size() ? kRows[i] : kRows[0];
}

struct Alias {
  std::string_view name;
  DType type;
};
constexpr std::array kAliases{Alias{"float", DType::f32},  Alias{"fp32", DType::f32},
                              Alias{"half", DType::f16},   Alias{"fp16", DType::f16},
                              Alias{"double", DType::f64}, Alias{"boolean", DType::boolean},
                              Alias{"float64", DType::f64}};

/// Parameters of the 8-bit float formats. `max_bits` is the largest finite magnitude code.
struct F8Format {
  int exponent_bits;
  int mantissa_bits;
  int bias;
  bool fnuz;  // single NaN at 0x80, no negative zero
  bool has_inf;
  uint8_t max_bits;
};

F8Format f8_format(DType t) {
  switch (t) {
    case DType::f8e4m3fn: return {4, 3, 7, false, false, 0x7e};
    case DType::f8e4m3fnuz: return {4, 3, 8, true, false, 0x7f};
    case DType::f8e5m2: return {5, 2, 15, false, true, 0x7b};
    default: return {5, 2, 16, true, false, 0x7f};
  }
}

float decode_f8(const F8Format& f, uint8_t bits) {
  const bool negative = (bits & 0x80U) != 0;
  const unsigned mag = bits & 0x7fU;
  if (f.fnuz && bits == 0x80U) return std::numeric_limits<float>::quiet_NaN();
  if (!f.fnuz && mag > f.max_bits) {
    if (f.has_inf && mag == 0x7cU)
      return negative ? -std::numeric_limits<float>::infinity() : std::numeric_limits<float>::infinity();
    return std::numeric_limits<float>::quiet_NaN();
  }
  const int exp = static_cast<int>(mag >> f.mantissa_bits);
  const int man = static_cast<int>(mag & ((1U << f.mantissa_bits) - 1));
  const float v = exp == 0
                      ? std::ldexp(static_cast<float>(man), 1 - f.bias - f.mantissa_bits)
                      : std::ldexp(static_cast<float>(man | (1 << f.mantissa_bits)), exp - f.bias - f.mantissa_bits);
  return negative ? -v : v;
}

template <typename T>
T load_as(const void* p, int64_t i) {
  T v;
  std::memcpy(&v, static_cast<const char*>(p) + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return v;
}

template <typename T>
void store_as(void* p, int64_t i, T v) {
  std::memcpy(static_cast<char*>(p) + i * static_cast<int64_t>(sizeof(T)), &v, sizeof(T));
}

template <typename T>
T saturate_int(double v) {
  if (std::isnan(v)) return 0;
  v = std::nearbyint(v);
  if (v <= static_cast<double>(std::numeric_limits<T>::min())) return std::numeric_limits<T>::min();
  if (v >= static_cast<double>(std::numeric_limits<T>::max())) return std::numeric_limits<T>::max();
  return static_cast<T>(v);
}

unsigned load_bits(const void* p, int64_t i, int bits) {
  const int per_byte = 8 / bits;
  const auto byte = static_cast<const uint8_t*>(p)[i / per_byte];
  return (byte >> (bits * static_cast<int>(i % per_byte))) & ((1U << bits) - 1U);
}

void store_bits(void* p, int64_t i, int bits, unsigned value) {
  const int per_byte = 8 / bits;
  auto& byte = static_cast<uint8_t*>(p)[i / per_byte];
  const int shift = bits * static_cast<int>(i % per_byte);
  const unsigned mask = ((1U << bits) - 1U) << shift;
  byte = static_cast<uint8_t>((byte & ~mask) | ((value << shift) & mask));
}

}  // namespace

std::string_view dtype_name(DType t) { return row(t).name; }
std::string_view dtype_numpy_name(DType t) { return row(t).numpy; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (const auto& r : kRows)
    if (r.type != DType::undefined && (name == r.name || name == r.numpy)) return r.type;
  for (const auto& a : kAliases)
    if (name == a.name) return a.type;
  return std::nullopt;
}

int dtype_bits(DType t) { return row(t).bits; }
size_t dtype_bytes(DType t, int64_t count) {
  return (static_cast<size_t>(count) * static_cast<size_t>(dtype_bits(t)) + 7) / 8;
}
bool dtype_is_float(DType t) { return row(t).kind == Kind::floating; }
bool dtype_is_integer(DType t) { return row(t).kind == Kind::sint || row(t).kind == Kind::uint; }
bool dtype_is_signed(DType t) { return row(t).kind == Kind::sint || row(t).kind == Kind::floating; }

float f8_to_float(DType t, uint8_t bits) {
  if (t == DType::f8e8m0) return bits == 0xffU ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0F, bits - 127);
  return decode_f8(f8_format(t), bits);
}

uint8_t float_to_f8(DType t, float value, bool saturate) {
  if (t == DType::f8e8m0) {
    if (std::isnan(value)) return 0xff;
    if (!(value > 0.0F)) return 0;
    if (std::isinf(value)) return saturate ? 0xfe : 0xff;
    // The format holds powers of two only; ONNX rounds up to the next one.
    int exp = 0;
    const float m = std::frexp(value, &exp);  // value = m * 2^exp, m in [0.5, 1)
    const int power = m == 0.5F ? exp - 1 : exp;
    const int code = power + 127;
    if (code > 254) return saturate ? 0xfe : 0xff;
    return static_cast<uint8_t>(std::max(code, 0));
  }
  const F8Format f = f8_format(t);
  const uint8_t nan = f.fnuz ? 0x80 : 0x7f;
  if (std::isnan(value)) return nan;
  const uint8_t sign = std::signbit(value) ? 0x80 : 0;
  const uint8_t max = static_cast<uint8_t>(sign | f.max_bits);
  const uint8_t overflow =
      f.has_inf ? static_cast<uint8_t>(sign | 0x7c) : (f.fnuz ? nan : static_cast<uint8_t>(sign | 0x7f));
  const float mag = std::fabs(value);
  if (std::isinf(value)) return saturate ? max : overflow;
  if (mag == 0.0F) return f.fnuz ? 0 : sign;
  // Round the magnitude to a multiple of the spacing at its binade (round half to even), then re-encode.
  int exp = 0;
  std::frexp(mag, &exp);
  const int lowest = 1 - f.bias;
  const int e = std::max(exp - 1, lowest);
  const auto steps = static_cast<int64_t>(std::nearbyint(std::ldexp(static_cast<double>(mag), f.mantissa_bits - e)));
  const int64_t code = (static_cast<int64_t>(e - lowest) << f.mantissa_bits) + steps;
  if (code > f.max_bits) return saturate ? max : overflow;
  if (code == 0 && f.fnuz) return 0;
  return static_cast<uint8_t>(sign | static_cast<uint8_t>(code));
}

float f4e2m1_to_float(uint8_t bits) {
  constexpr std::array<float, 8> kValues{0.0F, 0.5F, 1.0F, 1.5F, 2.0F, 3.0F, 4.0F, 6.0F};
  const float v = kValues[bits & 7U];
  return (bits & 8U) != 0 ? -v : v;
}

uint8_t float_to_f4e2m1(float value) {
  if (std::isnan(value)) return 0x8;  // the format has no NaN; ONNX's cast tests map it to -0
  const uint8_t sign = std::signbit(value) ? 8 : 0;
  const float mag = std::fabs(value);
  if (mag >= 5.0F) return static_cast<uint8_t>(sign | 7);
  constexpr std::array<float, 7> kMid{0.25F, 0.75F, 1.25F, 1.75F, 2.5F, 3.5F, 5.0F};
  uint8_t code = 0;
  while (code < 7 && (mag > kMid[code] || (mag == kMid[code] && (code & 1U)))) ++code;
  return static_cast<uint8_t>(sign | code);
}

double load_element(DType t, const void* data, int64_t i) {
  switch (t) {
    case DType::f32: return load_as<float>(data, i);
    case DType::f64: return load_as<double>(data, i);
    case DType::f16: return f16::to_float(load_as<uint16_t>(data, i));
    case DType::bf16: return bf16::from_bits(load_as<uint16_t>(data, i));
    case DType::u8: return load_as<uint8_t>(data, i);
    case DType::i8: return load_as<int8_t>(data, i);
    case DType::u16: return load_as<uint16_t>(data, i);
    case DType::i16: return load_as<int16_t>(data, i);
    case DType::u32: return load_as<uint32_t>(data, i);
    case DType::i32: return load_as<int32_t>(data, i);
    case DType::u64: return static_cast<double>(load_as<uint64_t>(data, i));
    case DType::i64: return static_cast<double>(load_as<int64_t>(data, i));
    case DType::boolean: return load_as<uint8_t>(data, i) != 0 ? 1.0 : 0.0;
    case DType::f8e4m3fn:
    case DType::f8e4m3fnuz:
    case DType::f8e5m2:
    case DType::f8e5m2fnuz:
    case DType::f8e8m0: return f8_to_float(t, load_as<uint8_t>(data, i));
    case DType::u4: return load_bits(data, i, 4);
    case DType::i4: return static_cast<int>(load_bits(data, i, 4) ^ 8U) - 8;
    case DType::u2: return load_bits(data, i, 2);
    case DType::i2: return static_cast<int>(load_bits(data, i, 2) ^ 2U) - 2;
    case DType::f4e2m1: return f4e2m1_to_float(static_cast<uint8_t>(load_bits(data, i, 4)));
    default: return 0.0;
  }
}

void store_element(DType t, void* data, int64_t i, double v) {
  switch (t) {
    case DType::f32: store_as(data, i, static_cast<float>(v)); return;
    case DType::f64: store_as(data, i, v); return;
    case DType::f16: store_as(data, i, f16::from_float(static_cast<float>(v))); return;
    case DType::bf16: store_as(data, i, bf16::from_float(static_cast<float>(v))); return;
    case DType::u8: store_as(data, i, saturate_int<uint8_t>(v)); return;
    case DType::i8: store_as(data, i, saturate_int<int8_t>(v)); return;
    case DType::u16: store_as(data, i, saturate_int<uint16_t>(v)); return;
    case DType::i16: store_as(data, i, saturate_int<int16_t>(v)); return;
    case DType::u32: store_as(data, i, saturate_int<uint32_t>(v)); return;
    case DType::i32: store_as(data, i, saturate_int<int32_t>(v)); return;
    case DType::u64: store_as(data, i, saturate_int<uint64_t>(v)); return;
    case DType::i64: store_as(data, i, saturate_int<int64_t>(v)); return;
    case DType::boolean: store_as<uint8_t>(data, i, v != 0.0 ? 1 : 0); return;
    case DType::f8e4m3fn:
    case DType::f8e4m3fnuz:
    case DType::f8e5m2:
    case DType::f8e5m2fnuz:
    case DType::f8e8m0: store_as(data, i, float_to_f8(t, static_cast<float>(v), true)); return;
    case DType::u4: store_bits(data, i, 4, static_cast<unsigned>(std::clamp(std::nearbyint(v), 0.0, 15.0))); return;
    case DType::i4:
      store_bits(data, i, 4, static_cast<unsigned>(static_cast<int>(std::clamp(std::nearbyint(v), -8.0, 7.0)) & 15));
      return;
    case DType::u2: store_bits(data, i, 2, static_cast<unsigned>(std::clamp(std::nearbyint(v), 0.0, 3.0))); return;
    case DType::i2:
      store_bits(data, i, 2, static_cast<unsigned>(static_cast<int>(std::clamp(std::nearbyint(v), -2.0, 1.0)) & 3));
      return;
    case DType::f4e2m1: store_bits(data, i, 4, float_to_f4e2m1(static_cast<float>(v))); return;
    default: return;
  }
}

}  // namespace planish
