#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "planish/base/dtype.h"

namespace planish {

/// How the elements of a tensor lie in memory. Shapes in the graph are always logical (N,C,spatial...); only this
/// changes. The numbers are stored in engine files.
enum class Layout : uint8_t {
  row_major = 0,      ///< the last dimension is contiguous (NCHW for images)
  channels_last = 1,  ///< N, spatial..., C: dimension 1 is contiguous (NHWC)
  blocked8 = 2,       ///< N, C/8, spatial..., 8c; C is padded to a multiple of 8 with zeros (nChw8c)
  blocked16 = 3,      ///< the same with 16 (nChw16c)
};

std::string_view layout_name(Layout layout);
/// Channels per block: 8, 16, or 1 for the layouts without blocks.
int64_t layout_block(Layout layout);
/// Bytes of a tensor in this layout, padding included. All dimensions must be known.
size_t layout_bytes(DType dtype, std::span<const int64_t> dims, Layout layout);

}  // namespace planish
