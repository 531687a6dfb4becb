#pragma once

#include <cstdint>
#include <span>

namespace planish {

/// A row-major shape seen from one axis: element (o, a, i) lies at (o * length + a) * inner + i.
struct AxisView {
  int64_t outer = 1;
  int64_t length = 1;
  int64_t inner = 1;
};

/// `axis` must be in [0, rank).
inline AxisView axis_view(std::span<const int64_t> dims, int64_t axis) {
  AxisView v;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (static_cast<int64_t>(i) < axis)
      v.outer *= dims[i];
    else if (static_cast<int64_t>(i) == axis)
      v.length = dims[i];
    else
      v.inner *= dims[i];
  }
  return v;
}

}  // namespace planish
