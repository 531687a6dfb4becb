#pragma once

#include <cstdint>
#include <vector>

#include "planish/ops/op.h"

namespace planish {

/// All indices of a tensor, negative ones counted from the end of a dimension of `dim` elements. Errors: an index out
/// of range, a type that is no integer.
Result<std::vector<int64_t>> read_indices(const RefContext& ctx, const Tensor& indices, int64_t dim);

/// Error unless `shape` is within `data` in every dimension but `axis` (GatherElements, ScatterElements).
Status require_fits(const RefContext& ctx, const Shape& shape, const Shape& data, int64_t axis);

/// Offsets in elements that the tuples of indices, which are the last dimension of `indices`, stand for in dimensions
/// [from, from + length of a tuple) of `data`. Errors as of read_indices().
Result<std::vector<int64_t>> tuple_offsets(const RefContext& ctx, const Tensor& indices, const Shape& data,
                                           int64_t from);

/// Walks the positions of `shape` in row-major order; next(i) is the offset in `data` of the current position with its
/// coordinate along `axis` replaced by i.
class ElementOffsets {
 public:
  ElementOffsets(const Shape& shape, const Shape& data, int64_t axis);
  int64_t next(int64_t index);

 private:
  Shape shape_;
  std::vector<int64_t> strides_;  // 0 along the axis
  std::vector<int64_t> position_;
  int64_t axis_stride_;
  int64_t offset_ = 0;
};

}  // namespace planish
