#pragma once

#include <cstdint>

#include "planish/base/dtype.h"

namespace planish::kernels {

/// y[i] = x[i] as f32 for n contiguous elements of some type.
using ReadTile = void (*)(int64_t n, const void* x, float* y);
/// y[i] = x[i] rounded to some type (to nearest, ties to even) for n contiguous elements; for bytes x[i] must be whole
/// numbers in their range.
using WriteTile = void (*)(int64_t n, const float* x, void* y);

/// The fastest conversion of this machine from a type (f32, f16, bf16, i8, u8, i32); nullptr for other types.
ReadTile tile_reader(DType type);
/// The same towards a type.
WriteTile tile_writer(DType type);

}  // namespace planish::kernels
