#include "planish/ops/indices.h"

#include <fmt/format.h>

#include "planish/ops/elements.h"

namespace planish {
namespace {

Error out_of_range(const RefContext& ctx, int64_t index, int64_t dim) {
  return ctx.error(fmt::format("index {} is outside of a dimension of {}", index, dim));
}

}  // namespace

Result<std::vector<int64_t>> read_indices(const RefContext& ctx, const Tensor& indices, int64_t dim) {
  if (!dtype_is_integer(indices.dtype())) return ctx.error("the indices are no integers");
  std::vector<int64_t> out = indices.to_i64();
  for (int64_t& i : out) {
    if (i < -dim || i >= dim) return out_of_range(ctx, i, dim);
    if (i < 0) i += dim;
  }
  return out;
}

Status require_fits(const RefContext& ctx, const Shape& shape, const Shape& data, int64_t axis) {
  for (size_t d = 0; d < shape.size(); ++d)
    if (static_cast<int64_t>(d) != axis && shape[d] > data[d])
      return ctx.error(
          fmt::format("indices of shape {} reach beyond data of shape {}", to_string(shape), to_string(data)));
  return {};
}

Result<std::vector<int64_t>> tuple_offsets(const RefContext& ctx, const Tensor& indices, const Shape& data,
                                           int64_t from) {
  if (!dtype_is_integer(indices.dtype())) return ctx.error("the indices are no integers");
  std::vector<int64_t> converted;
  if (indices.dtype() != DType::i64) converted = indices.to_i64();
  const int64_t* tuple = converted.empty() && indices.size() > 0 ? indices.data<int64_t>() : converted.data();
  const auto length = static_cast<size_t>(indices.shape().back());
  const auto strides = row_major_strides(data);
  std::vector<int64_t> out(static_cast<size_t>(product(indices.shape(), 0, indices.rank() - 1)), 0);
  for (int64_t& offset : out) {
    for (size_t k = 0; k < length; ++k) {
      const size_t d = static_cast<size_t>(from) + k;
      const int64_t i = tuple[k];
      if (i < -data[d] || i >= data[d]) return out_of_range(ctx, i, data[d]);
      offset += (i < 0 ? i + data[d] : i) * strides[d];
    }
    tuple += length;
  }
  return out;
}

ElementOffsets::ElementOffsets(const Shape& shape, const Shape& data, int64_t axis)
    : shape_(shape), strides_(row_major_strides(data)), position_(shape.size(), 0) {
  axis_stride_ = strides_[static_cast<size_t>(axis)];
  strides_[static_cast<size_t>(axis)] = 0;
}

int64_t ElementOffsets::next(int64_t index) {
  const int64_t result = offset_ + index * axis_stride_;
  for (size_t d = shape_.size(); d-- > 0;) {
    offset_ += strides_[d];
    if (++position_[d] < shape_[d]) break;
    offset_ -= strides_[d] * shape_[d];
    position_[d] = 0;
  }
  return result;
}

}  // namespace planish
