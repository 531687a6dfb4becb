#include "planish/ir/shape.h"

#include <algorithm>
#include <limits>

namespace planish {

bool is_static(std::span<const int64_t> dims) {
  return std::ranges::all_of(dims, [](int64_t d) { return d >= 0; });
}

int64_t element_count(std::span<const int64_t> dims) {
  int64_t n = 1;
  bool zero = false;
  for (const int64_t d : dims) {
    if (d < 0) return kUnknownDim;
    if (d == 0) zero = true;
    if (!zero && __builtin_mul_overflow(n, d, &n)) n = std::numeric_limits<int64_t>::max() / 2;
    if (n > std::numeric_limits<int64_t>::max() / 2) n = std::numeric_limits<int64_t>::max() / 2;
  }
  return zero ? 0 : n;
}

std::string to_string(std::span<const int64_t> dims) {
  std::string out = "[";
  for (size_t i = 0; i < dims.size(); ++i) {
    if (i) out += ",";
    out += dims[i] < 0 ? "?" : std::to_string(dims[i]);
  }
  return out + "]";
}

std::vector<int64_t> row_major_strides(std::span<const int64_t> dims) {
  std::vector<int64_t> strides(dims.size(), 1);
  for (size_t i = dims.size(); i-- > 1;) strides[i - 1] = strides[i] * std::max<int64_t>(dims[i], 1);
  return strides;
}

int64_t dim_add(int64_t a, int64_t b) { return a < 0 || b < 0 ? kUnknownDim : a + b; }
int64_t dim_mul(int64_t a, int64_t b) {
  if (a == 0 || b == 0) return 0;
  return a < 0 || b < 0 ? kUnknownDim : a * b;
}

}  // namespace planish
