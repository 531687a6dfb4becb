#include "planish/ir/layout.h"

#include "planish/ir/shape.h"

namespace planish {

std::string_view layout_name(Layout layout) {
  switch (layout) {
    case Layout::row_major: return "row_major";
    case Layout::channels_last: return "channels_last";
    case Layout::blocked8: return "blocked8";
    case Layout::blocked16: return "blocked16";
  }
  return "unknown";
}

int64_t layout_block(Layout layout) {
  if (layout == Layout::blocked8) return 8;
  return layout == Layout::blocked16 ? 16 : 1;
}

size_t layout_bytes(DType dtype, std::span<const int64_t> dims, Layout layout) {
  const int64_t block = layout_block(layout);
  int64_t n = element_count(dims);
  if (block > 1 && dims.size() >= 2 && dims[1] > 0) n = n / dims[1] * ((dims[1] + block - 1) / block * block);
  return dtype_bytes(dtype, n);
}

}  // namespace planish
