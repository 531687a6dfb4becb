#include "planish/kernels/cpu/convert/tile.h"

#include <cstring>

#include "planish/kernels/cpu/convert/convert.h"

namespace planish::kernels {
namespace {

void read_f32(int64_t n, const void* x, float* y) { std::memcpy(y, x, static_cast<size_t>(n) * sizeof(float)); }
void write_f32(int64_t n, const float* x, void* y) { std::memcpy(y, x, static_cast<size_t>(n) * sizeof(float)); }

void read_i32(int64_t n, const void* x, float* y) {
  const auto* from = static_cast<const int32_t*>(x);
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(from[i]);
}

template <auto kConvert>
void read_half(int64_t n, const void* x, float* y) {
  (best_convert_kernels().*kConvert)(n, static_cast<const uint16_t*>(x), y);
}

template <auto kConvert>
void write_half(int64_t n, const float* x, void* y) {
  (best_convert_kernels().*kConvert)(n, x, static_cast<uint16_t*>(y));
}

template <auto kConvert, typename T>
void read_bytes(int64_t n, const void* x, float* y) {
  (best_convert_kernels().*kConvert)(n, static_cast<const T*>(x), y);
}

template <auto kConvert, typename T>
void write_bytes(int64_t n, const float* x, void* y) {
  (best_convert_kernels().*kConvert)(n, x, static_cast<T*>(y));
}

}  // namespace

ReadTile tile_reader(DType type) {
  if (type == DType::f32) return read_f32;
  if (type == DType::f16) return read_half<&ConvertKernels::f16_to_f32>;
  if (type == DType::i8) return read_bytes<&ConvertKernels::i8_to_f32, int8_t>;
  if (type == DType::u8) return read_bytes<&ConvertKernels::u8_to_f32, uint8_t>;
  if (type == DType::i32) return read_i32;
  return type == DType::bf16 ? read_half<&ConvertKernels::bf16_to_f32> : nullptr;
}

WriteTile tile_writer(DType type) {
  if (type == DType::f32) return write_f32;
  if (type == DType::f16) return write_half<&ConvertKernels::f32_to_f16>;
  if (type == DType::i8) return write_bytes<&ConvertKernels::f32_to_i8, int8_t>;
  if (type == DType::u8) return write_bytes<&ConvertKernels::f32_to_u8, uint8_t>;
  return type == DType::bf16 ? write_half<&ConvertKernels::f32_to_bf16> : nullptr;
}

}  // namespace planish::kernels
