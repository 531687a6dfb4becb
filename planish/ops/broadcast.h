#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "planish/ir/tensor.h"
#include "planish/ops/element_buffer.h"

namespace planish {

/// Element strides with which a row-major tensor of shape `in` is read when it is broadcast to `out`: 0 in repeated
/// dimensions. `in` must be broadcastable to `out`; both must be known. As long as `out`.
std::vector<int64_t> broadcast_strides(std::span<const int64_t> in, std::span<const int64_t> out);

/// Walks the elements of a strided view in row-major order as runs that are as long as the strides allow.
class StridedCursor {
 public:
  /// A view of shape `dims` with `strides` in elements (any sign, 0 repeats).
  StridedCursor(std::span<const int64_t> dims, std::span<const int64_t> strides);

  struct Run {
    int64_t offset;  ///< in elements
    int64_t length;  ///< number of elements, at least 1
    int64_t stride;  ///< between elements of the run
  };
  /// The next run, at most `limit` elements long (limit >= 1). Starts again at the front after the last element.
  Run next(int64_t limit);

 private:
  std::vector<int64_t> dims_;  // merged; the last one is the run
  std::vector<int64_t> strides_;
  std::vector<int64_t> index_;
  int64_t offset_ = 0;
};

/// Reads a tensor as if it had been broadcast to another shape, front to back, converted to T (double, float,
/// int64_t, uint64_t).
class BroadcastReader {
 public:
  BroadcastReader(const Tensor& tensor, std::span<const int64_t> out_shape)
      : dtype_(tensor.dtype()), data_(tensor.raw()), cursor_(out_shape, broadcast_strides(tensor.shape(), out_shape)) {}

  /// The next `count` elements in row-major order of the broadcast shape.
  template <typename T>
  void read(int64_t count, T* out) {
    while (count > 0) {
      const auto run = cursor_.next(count);
      load_elements(dtype_, data_, run.offset, run.stride, run.length, out);
      out += run.length;
      count -= run.length;
    }
  }

 private:
  DType dtype_;
  const void* data_;
  StridedCursor cursor_;
};

}  // namespace planish
