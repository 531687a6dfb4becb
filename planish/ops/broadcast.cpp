#include "planish/ops/broadcast.h"

#include <algorithm>

namespace planish {

std::vector<int64_t> broadcast_strides(std::span<const int64_t> in, std::span<const int64_t> out) {
  std::vector<int64_t> strides(out.size(), 0);
  int64_t step = 1;
  for (size_t i = 0; i < in.size() && i < out.size(); ++i) {
    const int64_t dim = in[in.size() - 1 - i];
    if (dim != 1) strides[out.size() - 1 - i] = step;
    step *= dim;
  }
  return strides;
}

StridedCursor::StridedCursor(std::span<const int64_t> dims, std::span<const int64_t> strides) {
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 1) continue;
    // Dimension i continues the one before it when a step there equals a whole pass over i.
    if (!dims_.empty() && strides_.back() == strides[i] * dims[i]) {
      dims_.back() *= dims[i];
      strides_.back() = strides[i];
    } else {
      dims_.push_back(dims[i]);
      strides_.push_back(strides[i]);
    }
  }
  if (dims_.empty()) {
    dims_.push_back(1);
    strides_.push_back(0);
  }
  index_.assign(dims_.size(), 0);
}

StridedCursor::Run StridedCursor::next(int64_t limit) {
  size_t d = dims_.size() - 1;
  const Run run{offset_, std::min(limit, std::max<int64_t>(1, dims_[d] - index_[d])), strides_[d]};
  index_[d] += run.length;
  offset_ += run.length * strides_[d];
  while (index_[d] >= dims_[d]) {
    offset_ -= index_[d] * strides_[d];
    index_[d] = 0;
    if (d == 0) break;
    --d;
    ++index_[d];
    offset_ += strides_[d];
  }
  return run;
}

}  // namespace planish
