#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace planish {

/// Dimensions of a tensor, outermost first; -1 is a dimension not known yet. An empty shape is a scalar.
using Shape = std::vector<int64_t>;

inline constexpr int64_t kUnknownDim = -1;

/// True when no dimension is -1.
bool is_static(std::span<const int64_t> dims);
/// Product of the dimensions, 1 for a scalar, -1 when one is unknown. Saturates at INT64_MAX.
int64_t element_count(std::span<const int64_t> dims);
/// "[1,3,224,224]", unknown dimensions as "?".
std::string to_string(std::span<const int64_t> dims);
/// Row-major strides in elements; all dimensions must be known.
std::vector<int64_t> row_major_strides(std::span<const int64_t> dims);
/// Sum, difference, product and quotients of dimensions, -1 when either is unknown.
int64_t dim_add(int64_t a, int64_t b);
int64_t dim_mul(int64_t a, int64_t b);

}  // namespace planish
