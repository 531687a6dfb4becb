#include "planish/quant/tensor_scan.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "planish/base/finite.h"
#include "planish/base/parallel.h"
#include "planish/kernels/cpu/column_range/column_range.h"

namespace planish {
namespace {

/// Fewer values than this are not worth another thread.
constexpr int64_t kLeastShare = 8192;
/// Values that are looked at together: they stay in the first-level cache between statistics and counting.
constexpr int64_t kChunk = 4096;

/// Units that are looked at together where they have few columns.
constexpr int64_t kParts = kernels::kRangeParts;
constexpr int64_t kFewColumns = 32;

/// Memory for what column_range says of neighbouring columns.
class Columns {
 public:
  explicit Columns(int64_t count) : count_(static_cast<size_t>(count)), values_(3 * count_) {}
  /// At kParts places.
  void look_at_parts(const float* const* x, const int64_t* rows, int64_t columns) {
    static const kernels::ColumnRangePartsFn look_at = kernels::best_column_range_kernel().parts;
    look_at(x, rows, columns, columns, {values_.data(), values_.data() + count_, values_.data() + 2 * count_});
  }
  void look(const float* x, int64_t rows, int64_t stride, int64_t columns) {
    static const kernels::ColumnRangeFn look_at = kernels::best_column_range_kernel().fn;
    look_at(x, rows, stride, columns, {values_.data(), values_.data() + count_, values_.data() + 2 * count_});
  }
  [[nodiscard]] float low(size_t c) const { return values_[c]; }
  [[nodiscard]] float high(size_t c) const { return values_[count_ + c]; }
  [[nodiscard]] float total(size_t c) const { return values_[2 * count_ + c]; }
  [[nodiscard]] std::span<const float> lows() const { return std::span(values_).first(count_); }
  [[nodiscard]] std::span<const float> highs() const { return std::span(values_).subspan(count_, count_); }
  [[nodiscard]] std::span<const float> totals() const { return std::span(values_).last(count_); }

 private:
  size_t count_;
  std::vector<float> values_;
};

/// Adds to the statistics of single channels, in the order of calls.
template <typename F>
void add_to_channel(ChannelStatistics& channels, size_t c, F add) {
  RunStatistics s{.min = channels.min[c], .max = channels.max[c], .sum = channels.sum[c]};
  add(s);
  channels.min[c] = s.min;
  channels.max[c] = s.max;
  channels.sum[c] = s.sum;
  channels.count[c] += s.count - s.nans - s.infinities;
  channels.nans += s.nans;
  channels.infinities += s.infinities;
}

/// Adds `rows` rows of `width` channels from number `first` on that lie `stride` values apart. `columns` says from
/// number `at` on what was seen there.
void add_rows(const float* data, int64_t rows, int64_t stride, size_t first, size_t width, const Columns& columns,
              size_t at, ChannelStatistics& channels) {
  const auto low = columns.lows().subspan(at, width);
  const auto high = columns.highs().subspan(at, width);
  const auto total = columns.totals().subspan(at, width);
  float* const min = channels.min.data() + first;
  float* const max = channels.max.data() + first;
  double* const sum = channels.sum.data() + first;
  uint64_t* const count = channels.count.data() + first;
  if (!all_finite(total)) {
    for (size_t c = 0; c < width; ++c)
      add_to_channel(channels, first + c, [&](RunStatistics& s) {
        if (!std::isfinite(total[c])) return s.add_one_by_one(data + c, rows, stride);
        s.min = std::min(s.min, low[c]);
        s.max = std::max(s.max, high[c]);
        s.sum += static_cast<double>(total[c]);
        s.count += static_cast<uint64_t>(rows);
      });
    return;
  }
  for (size_t c = 0; c < width; ++c) min[c] = low[c] < min[c] ? low[c] : min[c];
  for (size_t c = 0; c < width; ++c) max[c] = high[c] > max[c] ? high[c] : max[c];
  for (size_t c = 0; c < width; ++c) sum[c] += static_cast<double>(total[c]);
  for (size_t c = 0; c < width; ++c) count[c] += static_cast<uint64_t>(rows);
}

/// Neighbours of one channel that are looked at as a row.
constexpr int64_t kRow = 64;

/// Adds `n` neighbours.
void add_neighbours(const float* x, int64_t n, Columns& columns, RunStatistics& s) {
  constexpr int64_t kBlock = 4096;  // sums of single precision stay short
  const auto add = [&](const float* from, int64_t rows, int64_t width) {
    columns.look(from, rows, width, width);
    float sum = 0;
    for (size_t c = 0; c < static_cast<size_t>(width); ++c) sum += columns.total(c);
    if (!std::isfinite(sum)) {  // a NaN or an infinity (or a sum beyond single precision) is somewhere
      s.add_one_by_one(from, rows * width, 1);
      return;
    }
    for (size_t c = 0; c < static_cast<size_t>(width); ++c) {
      s.min = std::min(s.min, columns.low(c));
      s.max = std::max(s.max, columns.high(c));
    }
    s.sum += static_cast<double>(sum);
    s.count += static_cast<uint64_t>(rows * width);
  };
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t size = std::min(kBlock, n - begin);
    if (size >= kRow) add(x + begin, size / kRow, kRow);
    if (size % kRow != 0) add(x + begin + size / kRow * kRow, 1, size % kRow);
  }
}

/// The tensor in units that are contiguous in memory: parts of a channel's plane, or of a block's.
class Walk {
 public:
  Walk(const float* data, const ChannelView& view) : data_(data), v_(view) {
    pieces_ = std::clamp<int64_t>(v_.inner * v_.block / kChunk, 1, std::max<int64_t>(v_.inner, 1));
  }
  [[nodiscard]] int64_t units() const { return v_.outer * v_.blocks() * pieces_; }

  /// Columns that are looked at together.
  [[nodiscard]] int64_t widest() const {
    return v_.block > 1 && v_.block <= kFewColumns ? kParts * v_.block : std::max(v_.block, kRow);
  }
  /// Units that are looked at together where `left` are left.
  [[nodiscard]] int64_t together(int64_t left) const {
    return v_.block > 1 && v_.block <= kFewColumns && left >= kParts ? kParts : 1;
  }

  /// Of `units` units from number `unit` on: together(), or one.
  void add_statistics(int64_t unit, int64_t units, Columns& columns, ChannelStatistics& channels) const {
    if (v_.block == 1) {
      const auto [first, last] = range(unit);
      add_to_channel(channels, static_cast<size_t>(unit / pieces_ % v_.blocks()),
                     [&](RunStatistics& s) { add_neighbours(data_ + first, last - first, columns, s); });
      return;
    }
    std::array<const float*, kParts> from{};
    std::array<int64_t, kParts> rows{};
    for (int64_t p = 0; p < units; ++p) {
      const auto [first, last] = range(unit + p);
      from[static_cast<size_t>(p)] = data_ + first;
      rows[static_cast<size_t>(p)] = (last - first) / v_.block;
    }
    const auto width = [&](int64_t b) { return std::min(v_.block, v_.channels - b * v_.block); };
    if (units == kParts)
      columns.look_at_parts(from.data(), rows.data(), v_.block);
    else
      columns.look(from[0], rows[0], v_.block, width(unit / pieces_ % v_.blocks()));
    for (int64_t p = 0; p < units; ++p) {
      const int64_t b = (unit + p) / pieces_ % v_.blocks();
      add_rows(from[static_cast<size_t>(p)], rows[static_cast<size_t>(p)], v_.block, static_cast<size_t>(b * v_.block),
               static_cast<size_t>(width(b)), columns, static_cast<size_t>(p * v_.block), channels);
    }
  }

  /// Counts the sampled runs that begin in the unit.
  void count(int64_t unit, const SampledRuns& runs, BinCounts& counts) const {
    constexpr int64_t kRun = BinCounts::kRun;
    const auto [first, last] = range(unit);
    const int64_t from = (first + kRun - 1) / kRun - runs.start;
    // Padding is in the last block; runs lie within a block where that is a multiple of them.
    const bool may_be_padded = v_.block % kRun != 0 || unit / pieces_ % v_.blocks() == v_.blocks() - 1;
    const bool padded = v_.block > 1 && v_.channels % v_.block != 0 && may_be_padded;
    const int64_t end = v_.stored();
    const int64_t step = runs.stride * kRun;
    int64_t at = (runs.start + std::max<int64_t>(0, (from + runs.stride - 1) / runs.stride) * runs.stride) * kRun;
    if (!padded) {
      const int64_t whole = std::max<int64_t>(0, (std::min(last - 1, end - kRun) - at + step) / step);
      counts.add_runs(data_ + at, whole, step);
      at += whole * step;
    }
    for (; at < last; at += step) {
      if (padded)
        count_blocks(at, std::min(at + kRun, end), counts);
      else
        counts.add(data_ + at, end - at);  // the run at the end of the tensor
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

void ChannelStatistics::merge(const ChannelStatistics& other) {
  for (size_t c = 0; c < min.size(); ++c) min[c] = other.min[c] < min[c] ? other.min[c] : min[c];
  for (size_t c = 0; c < max.size(); ++c) max[c] = other.max[c] > max[c] ? other.max[c] : max[c];
  for (size_t c = 0; c < sum.size(); ++c) sum[c] += other.sum[c];
  for (size_t c = 0; c < count.size(); ++c) count[c] += other.count[c];
  nans += other.nans;
  infinities += other.infinities;
}

RunStatistics ChannelStatistics::all() const {
  constexpr size_t kSide = 16;  // side by side: one after the other, each would wait for the one before it
  std::array<float, kSide> low;
  std::array<float, kSide> high;
  low.fill(INFINITY);
  high.fill(-INFINITY);
  RunStatistics all{.nans = nans, .infinities = infinities, .count = nans + infinities};
  size_t c = 0;
  for (; c + kSide <= min.size(); c += kSide)
    for (size_t i = 0; i < kSide; ++i) {
      low[i] = min[c + i] < low[i] ? min[c + i] : low[i];
      high[i] = max[c + i] > high[i] ? max[c + i] : high[i];
    }
  for (size_t i = 0; i < kSide; ++i) {
    all.min = std::min(all.min, low[i]);
    all.max = std::max(all.max, high[i]);
  }
  for (; c < min.size(); ++c) {
    all.min = std::min(all.min, min[c]);
    all.max = std::max(all.max, max[c]);
  }
  // Zeros are equal, whatever their sign: the first one counts.
  if (all.min == 0) all.min = *std::ranges::find(min, 0.0F);
  if (all.max == 0) all.max = *std::ranges::find(max, 0.0F);
  for (const uint64_t n : count) all.count += n;
  return all;
}

ChannelView view_channels(std::span<const int64_t> dims, Layout layout) {
  ChannelView v;
  if (dims.empty()) return v;
  // Other layouts than rows have their channels in the second place, whatever the rank.
  const bool second = dims.size() >= 4 || (layout != Layout::row_major && dims.size() > 1);
  const size_t axis = second ? 1 : dims.size() - 1;
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
  std::vector<ChannelStatistics> found(static_cast<size_t>(shares));
  TensorScan scan;
  if (runs) scan.counts.assign(static_cast<size_t>(shares), BinCounts(runs->per_width));
  const int64_t units = walk.units();
  parallel_for(shares, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto share = static_cast<size_t>(i);
      ChannelStatistics channels(statistics ? view.channels : 0);
      Columns columns(statistics ? walk.widest() : 0);
      const int64_t end_of_share = units * (i + 1) / shares;
      for (int64_t u = units * i / shares, next = u; u < end_of_share; u = next) {
        next = u + walk.together(end_of_share - u);
        if (statistics) walk.add_statistics(u, next - u, columns, channels);
        for (int64_t counted = u; runs && counted < next; ++counted) walk.count(counted, *runs, scan.counts[share]);
      }
      found[share] = std::move(channels);
    }
  });
  scan.channels = std::move(found[0]);
  for (size_t i = 1; i < found.size(); ++i) scan.channels.merge(found[i]);
  return scan;
}

}  // namespace planish
