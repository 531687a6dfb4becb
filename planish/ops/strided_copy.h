#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace planish {

/// Copies an n-dimensional box of elements of `width` bytes between two strided arrays that do not overlap.
/// Strides are in elements, one per entry of `dims`, and may be 0 (a repeated source) or negative (a reversed one).
/// Contiguous stretches are copied as blocks; transposing patterns are walked in cache-sized tiles.
void strided_copy(int64_t width, std::span<const int64_t> dims, const std::byte* src,
                  std::span<const int64_t> src_strides, std::byte* dst, std::span<const int64_t> dst_strides);

/// Copies with an index table per output dimension: dst[i0,i1,...] = src[maps[0][i0], maps[1][i1], ...]. `dst` is dense
/// row-major with dims maps[d].size(); an element with any index of -1 is left as it is. `src_strides` in elements.
void mapped_copy(int64_t width, std::span<const std::vector<int64_t>> maps, const std::byte* src,
                 std::span<const int64_t> src_strides, std::byte* dst);

}  // namespace planish
