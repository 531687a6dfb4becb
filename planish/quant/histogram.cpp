#include "planish/quant/histogram.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <numeric>

#include "planish/base/macros.h"
#include "planish/base/parallel.h"

namespace planish {
namespace {

/// Values of one tensor that a histogram counts at most; more would cost time without moving any threshold.
constexpr int64_t kMaxCounted = int64_t{1} << 16;
/// Fewer values than this are not worth another thread.
constexpr int64_t kLeastShare = 8192;

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
  PLANISH_INLINE static F load(const float* x, size_t vector) {
    F v;
    std::memcpy(&v, x + vector * (sizeof(F) / sizeof(float)), sizeof(F));
    return v;
  }
  PLANISH_INLINE void add(const float* x) {
    for (size_t k = 0; k < kVectors; ++k) {
      const F v = load(x, k);
      low[k] = v < low[k] ? v : low[k];
      high[k] = v > high[k] ? v : high[k];
      total[k] += v;
    }
  }
  /// Lane k of one of the arrays.
  static float at(const std::array<F, kVectors>& lanes, size_t k) { return lanes[k / 4][k % 4]; }
};

/// Minimum, maximum and sum of a run of values, not finite ones left out and counted.
struct RunStatistics {
  float min = INFINITY;
  float max = -INFINITY;
  double sum = 0;
  uint64_t nans = 0;
  uint64_t infinities = 0;
  uint64_t count = 0;

  void add_slowly(const float* x, int64_t n, int64_t step) {
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
        sum += v;
      }
    }
  }

  void add(const float* x, int64_t n) {
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
        add_slowly(p, size, 1);
        continue;
      }
      for (size_t k = 0; k < size_t{Lanes::kCount}; ++k) {
        min = std::min(min, Lanes::at(lanes.low, k));
        max = std::max(max, Lanes::at(lanes.high, k));
      }
      sum += static_cast<double>(block_sum);
      count += static_cast<uint64_t>(i);
      add_slowly(p + i, size - i, 1);
    }
  }

  void merge(const RunStatistics& o) {
    min = std::min(min, o.min);
    max = std::max(max, o.max);
    sum += o.sum;
    nans += o.nans;
    infinities += o.infinities;
    count += o.count;
  }
};

/// How the channels of a tensor lie in memory: `outer` images of `channels` x `inner` values.
struct ChannelView {
  int64_t outer = 1;
  int64_t channels = 1;
  int64_t inner = 1;
  int64_t block = 1;  ///< channels side by side: all for channels_last, 8 or 16 for the blocked layouts
};

ChannelView view_channels(std::span<const int64_t> dims, Layout layout) {
  ChannelView v;
  if (dims.empty()) return v;
  // Sequences [N,T,C] and matrices [N,C] have their channels last, images dimension 1.
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
        s.add_slowly(x + at, rows, stride);
        continue;
      }
      s.min = std::min(s.min, Lanes::at(lanes.low, k));
      s.max = std::max(s.max, Lanes::at(lanes.high, k));
      s.sum += static_cast<double>(total);
      s.count += static_cast<uint64_t>(rows);
    }
  }
  for (; c < width; ++c) channels[c].add_slowly(data + c, rows, stride);
}

/// Values that are looked at together: they stay in the first-level cache.
constexpr int64_t kChunk = 4096;

void add_unit(const float* data, const ChannelView& v, int64_t pieces, int64_t unit, RunStatistics* channels) {
  const int64_t part = unit / pieces;
  const int64_t blocks = (v.channels + v.block - 1) / v.block;
  const int64_t first = v.inner * (unit % pieces) / pieces;
  const int64_t last = v.inner * (unit % pieces + 1) / pieces;
  const int64_t b = part % blocks;
  const float* const x = data + (part * v.inner + first) * v.block;
  if (v.block == 1)
    channels[b].add(x, last - first);
  else
    add_rows(x, last - first, v.block, std::min(v.block, v.channels - b * v.block), channels + b * v.block);
}

/// Statistics of each channel. The threads take equal shares, whose results are joined in order, so that the same data
/// gives the same sums.
std::vector<RunStatistics> channel_statistics(const float* data, const ChannelView& v) {
  const int64_t blocks = (v.channels + v.block - 1) / v.block;
  const int64_t pieces = std::clamp<int64_t>(v.inner * v.block / kChunk, 1, std::max<int64_t>(v.inner, 1));
  const int64_t units = v.outer * blocks * pieces;
  const int64_t shares = std::clamp<int64_t>(v.outer * v.channels * v.inner / kLeastShare, 1, num_threads());
  std::vector<std::vector<RunStatistics>> found(static_cast<size_t>(shares));
  parallel_for(shares, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::vector<RunStatistics>& channels = found[static_cast<size_t>(i)];
      channels.resize(static_cast<size_t>(v.channels));
      for (int64_t u = units * i / shares; u < units * (i + 1) / shares; ++u)
        add_unit(data, v, pieces, u, channels.data());
    }
  });
  for (size_t i = 1; i < found.size(); ++i)
    for (size_t c = 0; c < found[0].size(); ++c) found[0][c].merge(found[i][c]);
  return std::move(found[0]);
}

/// Runs whose values are asked for before they are needed: they lie too far apart for the processor to guess.
constexpr int64_t kAhead = 16;

/// Counts in several copies, so that an increment need not wait for the one before it where many values share a bin.
class BinCounts {
 public:
  explicit BinCounts(float per_width) : per_width_(per_width), counts_(kCopies * AbsHistogram::kBins) {}

  void add(const float* x, int64_t n) {
    if (n == AbsHistogram::kRun) return add_run(x);
    for (int64_t i = 0; i < n; ++i) {
      ++counts_[static_cast<size_t>(bin(x[i]))];
      zeros_[0] += x[i] == 0 ? 1 : 0;
    }
  }

  [[nodiscard]] uint64_t zeros() const {
    return static_cast<uint64_t>(zeros_[0]) + static_cast<uint64_t>(zeros_[1]) + static_cast<uint64_t>(zeros_[2]) +
           static_cast<uint64_t>(zeros_[3]);
  }
  void move_to(std::span<uint64_t> counts, uint64_t& total) const {
    for (size_t i = 0; i < counts_.size(); ++i) {
      counts[i % AbsHistogram::kBins] += counts_[i];
      total += counts_[i];
    }
  }

 private:
  static constexpr size_t kCopies = 4;

  static constexpr auto kLast = static_cast<float>(AbsHistogram::kBins - 1);

  [[nodiscard]] int32_t bin(float v) const {
    const float at = std::fabs(v) * per_width_;
    return static_cast<int32_t>(at < kLast ? at : kLast);
  }

  void add_run(const float* x) {
    using I = int32_t __attribute__((vector_size(16)));
    std::array<I, Lanes::kVectors> bins;  // NOLINT: all are written
    for (size_t i = 0; i < bins.size(); ++i) {
      const Lanes::F v = Lanes::load(x, i);
      const Lanes::F at = (v < 0 ? -v : v) * per_width_;
      bins[i] = __builtin_convertvector(at < kLast ? at : Lanes::F{} + kLast, I);
      zeros_ -= v == 0;  // true is -1
    }
    for (size_t i = 0; i < bins.size(); ++i)
      for (size_t k = 0; k < kCopies; ++k)
        ++counts_[k * AbsHistogram::kBins + static_cast<size_t>(static_cast<uint32_t>(bins[i][k]))];
  }

  float per_width_;
  std::vector<uint32_t> counts_;
  int32_t __attribute__((vector_size(16))) zeros_{};
};

}  // namespace

void AbsHistogram::cover(float amax) {
  if (counts_.empty()) counts_.resize(kBins);
  if (amax <= 0) return;
  if (bin_width_ == 0) {
    // One part in a thousand more, so that the largest value falls into the last bin, not behind it.
    bin_width_ = std::max(static_cast<double>(amax) * 1.001 / kBins, 1e-40);
    return;
  }
  while (static_cast<double>(amax) >= bin_width_ * kBins) {
    for (size_t i = 0; i < kBins / 2; ++i) counts_[i] = counts_[2 * i] + counts_[2 * i + 1];
    std::fill(counts_.begin() + kBins / 2, counts_.end(), 0);
    bin_width_ *= 2;
  }
}

void AbsHistogram::add(std::span<const float> values) {
  float amax = 0;
  for (const float v : values) {
    const float a = std::fabs(v);
    if (a > amax && a < INFINITY) amax = a;
  }
  cover(amax);
  const double per_width = bin_width_ == 0 ? 0 : 1 / bin_width_;
  for (const float v : values) {
    const float a = std::fabs(v);
    if (!(a < INFINITY)) continue;
    ++total_;
    zeros_ += a == 0 ? 1 : 0;
    ++counts_[std::min(static_cast<size_t>(a * per_width), kBins - 1)];
  }
}

void AbsHistogram::add_runs(const float* data, int64_t size, int64_t start, int64_t stride,
                            const ChannelBlocks& padding) {
  const int64_t runs = ((size + kRun - 1) / kRun - start + stride - 1) / stride;
  if (runs <= 0) return;
  const float per_width = bin_width_ == 0 ? 0.0F : static_cast<float>(1 / bin_width_);
  const int64_t shares = std::clamp<int64_t>(runs * kRun / kLeastShare, 1, num_threads());
  std::vector<BinCounts> found(static_cast<size_t>(shares), BinCounts(per_width));
  const auto add = [&](BinCounts& counts, int64_t first, int64_t last) {
    if (padding.block == 1) return counts.add(data + first, last - first);
    for (int64_t i = first; i < last; i += padding.block)
      counts.add(data + i, i / padding.plane % padding.blocks == padding.blocks - 1 ? padding.last : padding.block);
  };
  parallel_for(shares, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t r = runs * i / shares; r < runs * (i + 1) / shares; ++r) {
        const int64_t first = (start + r * stride) * kRun;
        __builtin_prefetch(data + std::min(first + kAhead * stride * kRun, size - 1));
        add(found[static_cast<size_t>(i)], first, std::min(first + kRun, size));
      }
  });
  for (const BinCounts& f : found) {
    f.move_to(counts_, total_);
    zeros_ += f.zeros();
  }
}

std::vector<float> TensorStatistics::channel_means() const {
  std::vector<float> means(channel_sums.size());
  for (size_t c = 0; c < means.size(); ++c)
    means[c] =
        channel_counts[c] == 0 ? 0.0F : static_cast<float>(channel_sums[c] / static_cast<double>(channel_counts[c]));
  return means;
}

void TensorStatistics::add(const float* data, std::span<const int64_t> dims, Layout layout) {
  const ChannelView v = view_channels(dims, layout);
  const int64_t size = v.outer * v.channels * v.inner;
  if (size <= 0) return;
  const std::vector<RunStatistics> channels =
      channel_statistics(data, v.block == 1 && v.inner == 1 ? ChannelView{1, v.channels, v.outer, v.channels} : v);
  if (channel_sums.size() != channels.size() && count == 0) {
    channel_sums.assign(channels.size(), 0);
    channel_counts.assign(channels.size(), 0);
    channel_amax.assign(channels.size(), 0);
  }
  RunStatistics all;
  for (size_t c = 0; c < channels.size(); ++c) {
    const RunStatistics& s = channels[c];
    all.merge(s);
    if (channel_sums.size() != channels.size()) continue;  // the number of channels changes between batches
    channel_sums[c] += s.sum;
    channel_counts[c] += s.count - s.nans - s.infinities;
    if (s.min <= s.max) channel_amax[c] = std::max({channel_amax[c], -s.min, s.max});
  }
  const bool first = count == nans + infinities;
  if (all.min <= all.max) {
    min = first ? all.min : std::min(min, all.min);
    max = first ? all.max : std::max(max, all.max);
    histogram.cover(std::max(-all.min, all.max));
  }
  add_to_histogram(data, dims, layout, all.nans + all.infinities > 0);
  count += all.count;
  nans += all.nans;
  infinities += all.infinities;
}

void TensorStatistics::add_to_histogram(const float* data, std::span<const int64_t> dims, Layout layout,
                                        bool not_finite) {
  const ChannelView v = view_channels(dims, layout);
  const int64_t size = v.outer * v.channels * v.inner;
  const auto stored = static_cast<int64_t>(layout_bytes(DType::f32, dims, layout) / sizeof(float));
  // A stride that shares no factor with row or channel counts visits all of them alike; its start moves on every time.
  int64_t stride = std::max<int64_t>(1, size / kMaxCounted) | 1;
  while (std::gcd(stride, v.channels) > 1 || std::gcd(stride, v.inner) > 1) stride += 2;
  const auto start = static_cast<int64_t>((count / 7) % static_cast<uint64_t>(stride));
  const int64_t blocks = (v.channels + v.block - 1) / v.block;
  const int64_t row = v.inner * v.block;
  if (!not_finite)
    return histogram.add_runs(
        data, stored, start, stride,
        stored == size
            ? AbsHistogram::ChannelBlocks{}
            : AbsHistogram::ChannelBlocks{
                  .block = v.block, .plane = row, .blocks = blocks, .last = v.channels - (blocks - 1) * v.block});
  std::vector<float> kept;
  for (int64_t i = start; i < v.outer * blocks * row; i += stride)
    if (i / row % blocks * v.block + i % v.block < v.channels) kept.push_back(data[i]);
  histogram.add(kept);
}

}  // namespace planish
