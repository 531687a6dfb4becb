#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/isa.h"

namespace planish::kernels {

/// sums[c] = sum over r of x[r * row_stride + c], exact for up to 2^23 rows. x: bytes with or without sign.
using ByteColumnSumsFn = void (*)(int64_t rows, int64_t columns, int64_t row_stride, const uint8_t* x, bool is_signed,
                                  int32_t* sums);

struct ByteColumnSumsKernel {
  std::string_view name;
  Isa isa = Isa::baseline;
  ByteColumnSumsFn fn = nullptr;
};

/// Fastest first; the last row runs everywhere.
std::span<const ByteColumnSumsKernel> byte_column_sums_kernels();
/// The first row that this machine can run.
const ByteColumnSumsKernel& best_byte_column_sums_kernel();

}  // namespace planish::kernels
