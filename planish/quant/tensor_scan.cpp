#include "planish/quant/tensor_scan.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "planish/base/macros.h"
#include "planish/base/parallel.h"

namespace planish {
namespace {

/// Fewer values than this are not worth another thread.
constexpr int64_t kLeastShare = 8192;
/// Values that are looked at together: they stay in the first-level cache between statistics and counting.
constexpr int64_t kChunk = 4096;

/// Smallest, largest and summed values of neighbouring channels, in registers.
struct Lanes {
  using F = float __attribute__((vector_size(16)));
  static constexpr size_t kVectors = 4;
  static constexpr int64_t kCount = 16;
  std::array<F, kVectors> low{};
  std::array<F, kVectors> high{};
  std::array<F, kVectors> total{};

  Lanes() {
    low.fill(F{} + INFINITY);
    high.fill(F{} - INFINITY);
  }
  PLANISH_INLINE void add(const float* x) {
    for (size_t k = 0; k < kVectors; ++k) {
      F v;
      std::memcpy(&v, x + k * (sizeof(F) / sizeof(float)), sizeof(F));
      low[k] = v < low[k] ? v : low[k];
      high[k] = v > high[k] ? v : high[k];
      total[k] += v;
    }
  }
  /// Lane k of one of the arrays.
  static float at(const std::array<F, kVectors>& lanes, size_t k) { return lanes[k / 4][k % 4]; }
};

/// Rows of `width` channels that lie `stride` values apart: adds to the statistics of each of them.
void add_rows(const float* data, int64_t rows, int64_t stride, int64_t width, RunStatistics* channels) {
  int64_t c = 0;
  for (; c + Lanes::kCount <= width; c += Lanes::kCount) {
    const float* const x = data + c;
    Lanes lanes;
    for (int64_t r = 0; r < rows; ++r) lanes.add(x + r * stride);
    for (size_t k = 0; k < size_t{Lanes::kCount}; ++k) {
      const auto at = static_cast<int64_t>(k);
      RunStatistics& s = channels[c + at];
      const float total = Lanes::at(lanes.total, k);
      if (!std::isfinite(total)) {
        s.add_one_by_one(x + at, rows, stride);
        continue;
      }
      s.min = std::min(s.min, Lanes::at(lanes.low, k));
      s.max = std::max(s.max, Lanes::at(lanes.high, k));
      s.sum += static_cast<double>(total);
      s.count += static_cast<uint64_t>(rows);
    }
  }
  for (; c < width; ++c) channels[c].add_one_by_one(data + c, rows, stride);
}

/// The tensor in units that are contiguous in memory: parts of a channel's plane, or of a block's.
class Walk {
 public:
  Walk(const float* data, const ChannelView& view) : data_(data), v_(view) {
    pieces_ = std::clamp<int64_t>(v_.inner * v_.block / kChunk, 1, std::max<int64_t>(v_.inner, 1));
  }
  [[nodiscard]] int64_t units() const { return v_.outer * v_.blocks() * pieces_; }

  void add_statistics(int64_t unit, RunStatistics* channels) const {
    const int64_t b = unit / pieces_ % v_.blocks();
    const auto [first, last] = range(unit);
    if (v_.block == 1)
      channels[b].add(data_ + first, last - first);
    else
      add_rows(data_ + first, (last - first) / v_.block, v_.block, std::min(v_.block, v_.channels - b * v_.block),
               channels + b * v_.block);
  }

  /// Counts the sampled runs that begin in the unit.
  void count(int64_t unit, const SampledRuns& runs, BinCounts& counts) const {
    constexpr int64_t kRun = BinCounts::kRun;
    const auto [first, last] = range(unit);
    const int64_t from = (first + kRun - 1) / kRun - runs.start;
    const bool padded = v_.block > 1 && v_.channels % v_.block != 0;
    const int64_t end = v_.stored();
    for (int64_t r = std::max<int64_t>(0, (from + runs.stride - 1) / runs.stride);; ++r) {
      const int64_t at = (runs.start + r * runs.stride) * kRun;
      if (at >= last) return;
      if (padded)
        count_blocks(at, std::min(at + kRun, end), counts);
      else
        counts.add(data_ + at, std::min(kRun, end - at));
    }
  }

 private:
  struct Range {
    int64_t first = 0;
    int64_t last = 0;
  };
  [[nodiscard]] Range range(int64_t unit) const {
    const int64_t part = unit / pieces_;
    const int64_t piece = unit % pieces_;
    return {(part * v_.inner + v_.inner * piece / pieces_) * v_.block,
            (part * v_.inner + v_.inner * (piece + 1) / pieces_) * v_.block};
  }

  /// Whole pixels of a block each, whose last channels may be padding.
  void count_blocks(int64_t first, int64_t last, BinCounts& counts) const {
    const int64_t plane = v_.inner * v_.block;
    for (int64_t i = first; i < last;) {
      const int64_t channel = i % v_.block;
      const int64_t next = std::min(last, i - channel + v_.block);
      const bool is_last = i / plane % v_.blocks() == v_.blocks() - 1;
      const int64_t real = is_last ? v_.channels - (v_.blocks() - 1) * v_.block : v_.block;
      counts.add(data_ + i, std::clamp<int64_t>(real - channel, 0, next - i));
      i = next;
    }
  }

  const float* data_;
  ChannelView v_;
  int64_t pieces_ = 1;
};

}  // namespace

void RunStatistics::add_one_by_one(const float* x, int64_t n, int64_t step) {
  for (int64_t i = 0; i < n; ++i) {
    const float v = x[i * step];
    ++count;
    if (std::isnan(v)) {
      ++nans;
    } else if (std::isinf(v)) {
      ++infinities;
    } else {
      min = std::min(min, v);
      max = std::max(max, v);
      sum += static_cast<double>(v);
    }
  }
}

void RunStatistics::add(const float* x, int64_t n) {
  constexpr int64_t kBlock = 4096;  // sums of single precision stay short
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t size = std::min(kBlock, n - begin);
    const float* p = x + begin;
    Lanes lanes;
    int64_t i = 0;
    for (; i + Lanes::kCount <= size; i += Lanes::kCount) lanes.add(p + i);
    float block_sum = 0;
    for (size_t k = 0; k < size_t{Lanes::kCount}; ++k) block_sum += Lanes::at(lanes.total, k);
    if (!std::isfinite(block_sum)) {  // a NaN or an infinity (or a sum beyond single precision) is somewhere
      add_one_by_one(p, size, 1);
      continue;
    }
    for (size_t k = 0; k < size_t{Lanes::kCount}; ++k) {
      min = std::min(min, Lanes::at(lanes.low, k));
      max = std::max(max, Lanes::at(lanes.high, k));
    }
    sum += static_cast<double>(block_sum);
    count += static_cast<uint64_t>(i);
    add_one_by_one(p + i, size - i, 1);
  }
}

void RunStatistics::merge(const RunStatistics& other) {
  min = std::min(min, other.min);
  max = std::max(max, other.max);
  sum += other.sum;
  nans += other.nans;
  infinities += other.infinities;
  count += other.count;
}

ChannelView view_channels(std::span<const int64_t> dims, Layout layout) {
  ChannelView v;
  if (dims.empty()) return v;
  const size_t axis = dims.size() >= 4 ? 1 : dims.size() - 1;
  v.channels = dims[axis];
  for (size_t i = 0; i < axis; ++i) v.outer *= dims[i];
  for (size_t i = axis + 1; i < dims.size(); ++i) v.inner *= dims[i];
  if (layout == Layout::channels_last)
    v.block = v.channels;
  else if (layout != Layout::row_major)
    v.block = layout_block(layout);
  return v;
}

TensorScan scan_tensor(const float* data, const ChannelView& view, bool statistics,
                       const std::optional<SampledRuns>& runs) {
  // Where every value is a channel's only one in its image, channels lie side by side.
  const bool matrix = view.block == 1 && view.inner == 1;
  const Walk walk(data, matrix ? ChannelView{1, view.channels, view.outer, view.channels} : view);
  const int64_t shares = std::clamp<int64_t>(view.size() / kLeastShare, 1, num_threads());
  std::vector<std::vector<RunStatistics>> found(statistics ? static_cast<size_t>(shares) : 0);
  TensorScan scan;
  if (runs) scan.counts.assign(static_cast<size_t>(shares), BinCounts(runs->per_width));
  const int64_t units = walk.units();
  parallel_for(shares, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto share = static_cast<size_t>(i);
      if (statistics) found[share].resize(static_cast<size_t>(view.channels));
      for (int64_t u = units * i / shares; u < units * (i + 1) / shares; ++u) {
        if (statistics) walk.add_statistics(u, found[share].data());
        if (runs) walk.count(u, *runs, scan.counts[share]);
      }
    }
  });
  if (!statistics) return scan;
  scan.channels = std::move(found[0]);
  for (size_t i = 1; i < found.size(); ++i)
    for (size_t c = 0; c < scan.channels.size(); ++c) scan.channels[c].merge(found[i][c]);
  return scan;
}

}  // namespace planish
