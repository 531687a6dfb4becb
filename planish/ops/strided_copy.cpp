#include "planish/ops/strided_copy.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "planish/ir/shape.h"

namespace planish {
namespace {

/// One loop of the copy: trip count, source and destination stride in elements.
struct Loop {
  int64_t n;
  int64_t src;
  int64_t dst;
};

/// Drops loops of one trip and joins neighbours that are one longer loop in both arrays.
std::vector<Loop> coalesce(std::span<const int64_t> dims, std::span<const int64_t> src, std::span<const int64_t> dst) {
  std::vector<Loop> loops;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 1) continue;
    const Loop loop{dims[i], src[i], dst[i]};
    if (!loops.empty() && loops.back().src == loop.src * loop.n && loops.back().dst == loop.dst * loop.n)
      loops.back() = {loops.back().n * loop.n, loop.src, loop.dst};
    else
      loops.push_back(loop);
  }
  return loops;
}

using Bytes16 = std::array<uint64_t, 2>;

template <typename T>
void copy_plane(const Loop& rows, const Loop& cols, const std::byte* src, std::byte* dst) {
  // 16 x 16 elements of each side stay in the first-level cache whichever side is the strided one.
  constexpr int64_t kTile = 16;
  for (int64_t r0 = 0; r0 < rows.n; r0 += kTile) {
    const int64_t r1 = std::min(r0 + kTile, rows.n);
    for (int64_t c0 = 0; c0 < cols.n; c0 += kTile) {
      const int64_t c1 = std::min(c0 + kTile, cols.n);
      for (int64_t r = r0; r < r1; ++r) {
        for (int64_t c = c0; c < c1; ++c) {
          // memcpy, because neither array need be aligned to T.
          T t;
          std::memcpy(&t, src + (r * rows.src + c * cols.src) * static_cast<int64_t>(sizeof(T)), sizeof(T));
          std::memcpy(dst + (r * rows.dst + c * cols.dst) * static_cast<int64_t>(sizeof(T)), &t, sizeof(T));
        }
      }
    }
  }
}

void copy_plane_blocks(int64_t width, const Loop& rows, const Loop& cols, const std::byte* src, std::byte* dst) {
  for (int64_t r = 0; r < rows.n; ++r)
    for (int64_t c = 0; c < cols.n; ++c)
      std::memcpy(dst + (r * rows.dst + c * cols.dst) * width, src + (r * rows.src + c * cols.src) * width,
                  static_cast<size_t>(width));
}

void copy_plane_of(int64_t width, const Loop& rows, const Loop& cols, const std::byte* src, std::byte* dst) {
  switch (width) {
    case 1: return copy_plane<uint8_t>(rows, cols, src, dst);
    case 2: return copy_plane<uint16_t>(rows, cols, src, dst);
    case 4: return copy_plane<uint32_t>(rows, cols, src, dst);
    case 8: return copy_plane<uint64_t>(rows, cols, src, dst);
    case 16: return copy_plane<Bytes16>(rows, cols, src, dst);
    default: return copy_plane_blocks(width, rows, cols, src, dst);
  }
}

/// Treats a contiguous innermost loop as one wide element, so that the other strides become byte strides over it.
int64_t absorb_contiguous(std::vector<Loop>& loops, int64_t width) {
  if (loops.empty() || loops.back().src != 1 || loops.back().dst != 1) return width;
  const int64_t run = loops.back().n;
  const auto divides = [run](const Loop& l) { return l.src % run == 0 && l.dst % run == 0; };
  if (!std::all_of(loops.begin(), loops.end() - 1, divides)) {
    // Strides that are no multiples of the run: scale everything to bytes instead of runs.
    return 0;
  }
  loops.pop_back();
  for (Loop& l : loops) {
    l.src /= run;
    l.dst /= run;
  }
  return width * run;
}

template <typename Body>
void for_each_outer(std::span<const Loop> outer, const Body& body) {
  std::vector<int64_t> index(outer.size(), 0);
  int64_t src = 0;
  int64_t dst = 0;
  while (true) {
    body(src, dst);
    size_t d = outer.size();
    while (d-- > 0) {
      src += outer[d].src;
      dst += outer[d].dst;
      if (++index[d] < outer[d].n) break;
      src -= outer[d].src * outer[d].n;
      dst -= outer[d].dst * outer[d].n;
      index[d] = 0;
    }
    if (d == static_cast<size_t>(-1)) return;
  }
}

/// Copies runs of `run` contiguous elements.
void copy_runs(int64_t width, std::span<const Loop> outer, int64_t run, const std::byte* src, std::byte* dst) {
  const auto bytes = static_cast<size_t>(run * width);
  for_each_outer(outer, [&](int64_t s, int64_t d) { std::memcpy(dst + d * width, src + s * width, bytes); });
}

}  // namespace

void strided_copy(int64_t width, std::span<const int64_t> dims, const std::byte* src,
                  std::span<const int64_t> src_strides, std::byte* dst, std::span<const int64_t> dst_strides) {
  if (width <= 0 || element_count(dims) == 0) return;
  std::vector<Loop> loops = coalesce(dims, src_strides, dst_strides);
  const int64_t run = loops.empty() ? 1 : loops.back().n;
  const int64_t wide = absorb_contiguous(loops, width);
  if (wide == 0 || wide > 16) {
    if (wide == 0) loops.pop_back();
    for (Loop& l : loops) {
      if (wide == 0) break;
      l.src *= run;
      l.dst *= run;
    }
    return copy_runs(width, loops, run, src, dst);
  }
  // The order of loops is free: the innermost one writes forward, the next one reads forward.
  std::ranges::stable_sort(loops, std::ranges::greater{}, [](const Loop& l) { return std::abs(l.dst); });
  if (loops.size() > 2) {
    const auto last = loops.end() - 1;
    const auto key = [](const Loop& a, const Loop& b) {
      const int64_t x = a.src == 0 ? INT64_MAX : std::abs(a.src);
      const int64_t y = b.src == 0 ? INT64_MAX : std::abs(b.src);
      return x < y;
    };
    const auto reader = std::min_element(loops.begin(), last, key);
    std::rotate(reader, reader + 1, last);
  }
  const Loop one{1, 0, 0};
  const Loop cols = loops.empty() ? one : loops.back();
  const Loop rows = loops.size() < 2 ? one : loops[loops.size() - 2];
  const size_t outer = loops.size() < 2 ? 0 : loops.size() - 2;
  for_each_outer(std::span(loops).first(outer),
                 [&](int64_t s, int64_t d) { copy_plane_of(wide, rows, cols, src + s * wide, dst + d * wide); });
}

namespace {

/// A stretch of a row that is contiguous in source and destination, in elements.
struct Run {
  int64_t dst, src, n;
};

template <typename T>
void copy_short_runs(std::span<const Run> runs, const std::byte* src, std::byte* dst) {
  for (const Run& r : runs)
    for (int64_t i = 0; i < r.n; ++i)
      std::memcpy(dst + (r.dst + i) * static_cast<int64_t>(sizeof(T)),
                  src + (r.src + i) * static_cast<int64_t>(sizeof(T)), sizeof(T));
}

/// Copies the runs of one row; `short_runs`: a call of memcpy per run would cost more than the copying.
void copy_row(int64_t width, std::span<const Run> runs, bool short_runs, const std::byte* src, std::byte* dst) {
  if (short_runs) {
    switch (width) {
      case 1: return copy_short_runs<uint8_t>(runs, src, dst);
      case 2: return copy_short_runs<uint16_t>(runs, src, dst);
      case 4: return copy_short_runs<uint32_t>(runs, src, dst);
      case 8: return copy_short_runs<uint64_t>(runs, src, dst);
      default: break;
    }
  }
  for (const Run& r : runs) std::memcpy(dst + r.dst * width, src + r.src * width, static_cast<size_t>(r.n * width));
}

}  // namespace

void mapped_copy(int64_t width, std::span<const std::vector<int64_t>> maps, const std::byte* src,
                 std::span<const int64_t> src_strides, std::byte* dst) {
  if (width <= 0) return;
  for (const auto& map : maps)
    if (map.empty()) return;
  if (maps.empty()) {
    std::memcpy(dst, src, static_cast<size_t>(width));
    return;
  }
  std::vector<Run> runs;
  const auto& inner = maps.back();
  const int64_t inner_stride = src_strides.back();
  for (size_t i = 0; i < inner.size(); ++i) {
    if (inner[i] < 0) continue;
    const int64_t s = inner[i] * inner_stride;
    const auto d = static_cast<int64_t>(i);
    if (!runs.empty() && runs.back().dst + runs.back().n == d && runs.back().src + runs.back().n == s)
      ++runs.back().n;
    else
      runs.push_back({d, s, 1});
  }
  const bool short_runs = runs.size() * 8 > inner.size();
  const size_t outer = maps.size() - 1;
  std::vector<size_t> index(outer, 0);
  std::byte* row = dst;
  while (true) {
    int64_t offset = 0;
    bool skip = false;
    for (size_t d = 0; d < outer; ++d) {
      const int64_t s = maps[d][index[d]];
      skip = skip || s < 0;
      offset += s * src_strides[d];
    }
    if (!skip) copy_row(width, runs, short_runs, src + offset * width, row);
    row += static_cast<int64_t>(inner.size()) * width;
    size_t d = outer;
    while (d-- > 0) {
      if (++index[d] < maps[d].size()) break;
      index[d] = 0;
    }
    if (d == static_cast<size_t>(-1)) return;
  }
}

}  // namespace planish
