#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace planish {

/// Element types of tensors. The numbers are ONNX TensorProto.DataType values and are stored in engine files.
enum class DType : uint8_t {
  undefined = 0,
  f32 = 1,
  u8 = 2,
  i8 = 3,
  u16 = 4,
  i16 = 5,
  i32 = 6,
  i64 = 7,
  string = 8,
  boolean = 9,
  f16 = 10,
  f64 = 11,
  u32 = 12,
  u64 = 13,
  c64 = 14,
  c128 = 15,
  bf16 = 16,
  f8e4m3fn = 17,
  f8e4m3fnuz = 18,
  f8e5m2 = 19,
  f8e5m2fnuz = 20,
  u4 = 21,
  i4 = 22,
  f4e2m1 = 23,
  f8e8m0 = 24,
  u2 = 25,
  i2 = 26,
};

/// Short name: "f32", "i64", "f8e4m3fn", ... ("undefined" for unknown values).
std::string_view dtype_name(DType t);
/// numpy/ONNX spelling: "float32", "int64", "bfloat16", "float8e4m3fn", "bool" (as Polygraphy prints it).
std::string_view dtype_numpy_name(DType t);
/// Inverse of dtype_name and dtype_numpy_name (also "half", "float", "double", "fp32", "fp16"); nullopt if unknown.
std::optional<DType> dtype_from_name(std::string_view name);
/// Bits per element as stored: 32 for f32, 4 for i4, 2 for u2; 0 for string and undefined.
int dtype_bits(DType t);
/// Bytes that `count` elements take; 4- and 2-bit types are packed, low bits first, the last byte padded with 0.
size_t dtype_bytes(DType t, int64_t count);
/// f32, f16, bf16, f64, FP8 and FP4 kinds.
bool dtype_is_float(DType t);
/// All signed and unsigned integer kinds (not bool).
bool dtype_is_integer(DType t);
bool dtype_is_signed(DType t);
/// Types stored as whole bytes, one element after the other (everything but 4- and 2-bit types and strings).
inline bool dtype_is_byte_sized(DType t) { return dtype_bits(t) >= 8; }

/// Value of element `index` in packed storage as double (not for strings and complex types).
double load_element(DType t, const void* data, int64_t index);
/// Stores `value` at `index`, rounding to nearest even and saturating FP8/FP4/integers as ONNX Cast does for them.
void store_element(DType t, void* data, int64_t index, double value);

/// FP8/FP4 codecs (ONNX "Float stored in 8 bits", "4 bits"). `saturate`: overflow gives the largest finite value
/// instead of NaN/Inf where the format has them.
float f8_to_float(DType t, uint8_t bits);
uint8_t float_to_f8(DType t, float value, bool saturate);
float f4e2m1_to_float(uint8_t bits);
uint8_t float_to_f4e2m1(float value);

}  // namespace planish
