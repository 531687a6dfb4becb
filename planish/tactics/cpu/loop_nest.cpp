#include "planish/tactics/cpu/loop_nest.h"

#include <algorithm>
#include <numeric>

namespace planish {
namespace {

/// One loop: logical dimension, and which part of it (blocked channels make two loops of one dimension).
struct Loop {
  size_t dim;
  int64_t size;
  int64_t step;  ///< logical indices per iteration
};

std::vector<Loop> loops_of(const TensorDesc& d) {
  std::vector<Loop> loops;
  const auto& s = d.shape;
  if (d.layout == Layout::row_major) {
    for (size_t i = 0; i < s.size(); ++i) loops.push_back({i, s[i], 1});
    return loops;
  }
  const int64_t block = layout_block(d.layout);
  loops.push_back({0, s[0], 1});
  if (block > 1) loops.push_back({1, s[1] / block, block});
  for (size_t i = 2; i < s.size(); ++i) loops.push_back({i, s[i], 1});
  loops.push_back({1, block > 1 ? block : s[1], 1});
  return loops;
}

/// Element stride of one logical step along each dimension; for blocked layouts [1] is the step within a block and the
/// step to the next block is `block_stride`.
struct Strides {
  std::vector<int64_t> by_dim;
  int64_t block_stride = 0;
};

Strides strides_of(const TensorDesc& d) {
  Strides out;
  const auto& s = d.shape;
  if (d.layout == Layout::row_major) {
    out.by_dim = row_major_strides(s);
    out.block_stride = s.size() > 1 ? out.by_dim[1] : 0;
    return out;
  }
  const int64_t block = layout_block(d.layout);
  const int64_t inner = block > 1 ? block : s[1];
  out.by_dim.assign(s.size(), 1);
  int64_t stride = inner;
  for (size_t i = s.size(); i-- > 2;) {
    out.by_dim[i] = stride;
    stride *= s[i];
  }
  out.block_stride = block > 1 ? stride : 1;
  out.by_dim[0] = block > 1 ? stride * (s[1] / block) : stride;
  return out;
}

bool padded(const TensorDesc& d) {
  const int64_t block = layout_block(d.layout);
  return block > 1 && d.shape[1] % block != 0;
}

void merge_loops(LoopNest& nest) {
  const auto mergeable = [&nest](size_t i) {
    return std::ranges::all_of(nest.strides, [&](const auto& s) { return s[i] == s[i + 1] * nest.dims[i + 1]; });
  };
  for (size_t i = nest.dims.size(); i-- > 0;) {
    if (nest.dims[i] != 1 || nest.dims.size() == 1) continue;
    nest.dims.erase(nest.dims.begin() + static_cast<std::ptrdiff_t>(i));
    for (auto& s : nest.strides) s.erase(s.begin() + static_cast<std::ptrdiff_t>(i));
  }
  for (size_t i = nest.dims.size() - 1; i-- > 0;) {
    if (!mergeable(i)) continue;
    nest.dims[i] *= nest.dims[i + 1];
    nest.dims.erase(nest.dims.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    for (auto& s : nest.strides) s.erase(s.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

}  // namespace

int64_t LoopNest::size() const { return std::accumulate(dims.begin(), dims.end(), int64_t{1}, std::multiplies<>()); }

std::optional<LoopNest> make_loop_nest(const TensorDesc& out, std::span<const TensorDesc> operands) {
  if (padded(out)) return std::nullopt;
  LoopNest nest;
  const auto loops = loops_of(out);
  for (const Loop& l : loops) nest.dims.push_back(l.size);
  for (const TensorDesc& d : operands) {
    const bool blocked = layout_block(d.layout) > 1;
    if (padded(d) || (blocked && d.layout != out.layout) || d.rank() > out.rank()) return std::nullopt;
    if (d.layout != Layout::row_major && d.rank() != out.rank()) return std::nullopt;
    const Strides s = strides_of(d);
    const size_t shift = out.shape.size() - d.shape.size();
    std::vector<int64_t> strides;
    for (const Loop& l : loops) {
      if (l.dim < shift || d.shape[l.dim - shift] == 1) {
        strides.push_back(0);
        continue;
      }
      const size_t dim = l.dim - shift;
      strides.push_back(l.step > 1 && blocked ? s.block_stride : s.by_dim[dim] * l.step);
    }
    nest.strides.push_back(std::move(strides));
  }
  if (nest.dims.empty()) {
    nest.dims = {1};
    for (auto& s : nest.strides) s = {0};
  }
  merge_loops(nest);
  return nest;
}

std::optional<LoopNest> make_region_nest(const TensorDesc& part, const TensorDesc& whole, const Region& region,
                                         int64_t& offset) {
  if (part.layout != whole.layout || part.rank() != whole.rank()) return std::nullopt;
  const int64_t block = layout_block(part.layout);
  if (block > 1 && (padded(part) || padded(whole) || region.start[1] % block != 0 || region.step[1] != 1))
    return std::nullopt;
  const Strides in_part = strides_of(part);
  const Strides in_whole = strides_of(whole);
  LoopNest nest;
  nest.strides.resize(2);
  for (const Loop& l : loops_of(part)) {
    const bool blocks = l.step > 1;
    nest.dims.push_back(l.size);
    nest.strides[0].push_back(blocks ? in_part.block_stride : in_part.by_dim[l.dim]);
    nest.strides[1].push_back((blocks ? in_whole.block_stride : in_whole.by_dim[l.dim]) * region.step[l.dim]);
  }
  offset = 0;
  for (size_t d = 0; d < region.start.size(); ++d)
    offset +=
        d == 1 && block > 1 ? region.start[d] / block * in_whole.block_stride : region.start[d] * in_whole.by_dim[d];
  if (nest.dims.empty()) {
    nest.dims = {1};
    for (auto& s : nest.strides) s = {0};
  }
  merge_loops(nest);
  return nest;
}

}  // namespace planish
