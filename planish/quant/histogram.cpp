#include "planish/quant/histogram.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "planish/base/parallel.h"

namespace planish {
namespace {

/// Values of one tensor that a histogram counts at most; more would cost time without moving any threshold.
constexpr int64_t kMaxCounted = int64_t{1} << 17;

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
    constexpr int64_t kLanes = 16;
    constexpr int64_t kBlock = 4096;  // sums of single precision stay short
    for (int64_t begin = 0; begin < n; begin += kBlock) {
      const int64_t size = std::min(kBlock, n - begin);
      const float* p = x + begin;
      std::array<float, kLanes> low{};
      std::array<float, kLanes> high{};
      std::array<float, kLanes> total{};
      low.fill(INFINITY);
      high.fill(-INFINITY);
      int64_t i = 0;
      for (; i + kLanes <= size; i += kLanes)
        for (int64_t k = 0; k < kLanes; ++k) {
          const float v = p[i + k];
          const auto lane = static_cast<size_t>(k);
          low[lane] = v < low[lane] ? v : low[lane];
          high[lane] = v > high[lane] ? v : high[lane];
          total[lane] += v;
        }
      float block_sum = 0;
      for (const float t : total) block_sum += t;
      if (!std::isfinite(block_sum)) {  // a NaN or an infinity (or a sum beyond single precision) is somewhere
        add_slowly(p, size, 1);
        continue;
      }
      for (size_t k = 0; k < low.size(); ++k) {
        min = std::min(min, low[k]);
        max = std::max(max, high[k]);
      }
      sum += block_sum;
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

/// Rows of channels: [outer, blocks, inner, block] in memory. Adds to the statistics of each channel.
void add_interleaved(const float* data, const ChannelView& v, std::vector<RunStatistics>& channels) {
  const int64_t blocks = (v.channels + v.block - 1) / v.block;
  parallel_for(blocks, 1, [&](int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b) {
      const int64_t width = std::min(v.block, v.channels - b * v.block);
      std::vector<float> low(static_cast<size_t>(width));
      std::vector<float> high(low.size());
      std::vector<float> total(low.size());
      for (int64_t n = 0; n < v.outer; ++n) {
        const float* rows = data + (n * blocks + b) * v.inner * v.block;
        constexpr int64_t kRows = 4096;
        for (int64_t r0 = 0; r0 < v.inner; r0 += kRows) {
          const int64_t r1 = std::min(v.inner, r0 + kRows);
          std::ranges::fill(low, INFINITY);
          std::ranges::fill(high, -INFINITY);
          std::ranges::fill(total, 0.0F);
          for (int64_t r = r0; r < r1; ++r) {
            const float* x = rows + r * v.block;
            for (size_t c = 0; c < low.size(); ++c) {
              low[c] = x[c] < low[c] ? x[c] : low[c];
              high[c] = x[c] > high[c] ? x[c] : high[c];
              total[c] += x[c];
            }
          }
          for (size_t c = 0; c < low.size(); ++c) {
            RunStatistics& s = channels[static_cast<size_t>(b * v.block) + c];
            if (!std::isfinite(total[c])) {
              s.add_slowly(rows + r0 * v.block + static_cast<int64_t>(c), r1 - r0, v.block);
              continue;
            }
            s.min = std::min(s.min, low[c]);
            s.max = std::max(s.max, high[c]);
            s.sum += total[c];
            s.count += static_cast<uint64_t>(r1 - r0);
          }
        }
      }
    }
  });
}

void add_planes(const float* data, const ChannelView& v, std::vector<RunStatistics>& channels) {
  parallel_for(v.channels, 1, [&](int64_t first, int64_t last) {
    for (int64_t c = first; c < last; ++c)
      for (int64_t n = 0; n < v.outer; ++n)
        channels[static_cast<size_t>(c)].add(data + (n * v.channels + c) * v.inner, v.inner);
  });
}

}  // namespace

void AbsHistogram::grow_to(float amax) {
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

void AbsHistogram::cover(float amax) { grow_to(amax); }

void AbsHistogram::add(std::span<const float> values, size_t stride) {
  stride = std::max<size_t>(stride, 1);
  float amax = 0;
  for (size_t i = 0; i < values.size(); i += stride) {
    const float a = std::fabs(values[i]);
    if (a > amax && a < INFINITY) amax = a;
  }
  grow_to(amax);
  const double per_width = bin_width_ == 0 ? 0 : 1 / bin_width_;
  for (size_t i = 0; i < values.size(); i += stride) {
    const float a = std::fabs(values[i]);
    if (!(a < INFINITY)) continue;
    ++total_;
    zeros_ += a == 0 ? 1 : 0;
    ++counts_[std::min(static_cast<size_t>(a * per_width), kBins - 1)];
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
  std::vector<RunStatistics> channels(static_cast<size_t>(v.channels));
  if (v.block > 1 || v.inner == 1)
    add_interleaved(data, v.block > 1 ? v : ChannelView{1, v.channels, v.outer, v.channels}, channels);
  else
    add_planes(data, v, channels);

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
  // A stride that shares no factor with row or channel counts visits all of them alike; its start moves on every time.
  const int64_t stored = static_cast<int64_t>(layout_bytes(DType::f32, dims, layout) / sizeof(float));
  int64_t stride = std::max<int64_t>(1, size / kMaxCounted);
  stride |= 1;
  while (stride > 1 && (v.channels % stride == 0 || v.inner % stride == 0)) stride += 2;
  const auto start = static_cast<size_t>(static_cast<int64_t>((count / 7) % static_cast<uint64_t>(stride)));
  if (stored == size) {
    histogram.add({data + start, static_cast<size_t>(size) - std::min<size_t>(start, static_cast<size_t>(size))},
                  static_cast<size_t>(stride));
  } else {
    const int64_t blocks = (v.channels + v.block - 1) / v.block;
    const int64_t row = v.inner * v.block;
    std::vector<float> kept;
    for (int64_t n = 0; n < v.outer; ++n) {
      const float* image = data + n * blocks * row;
      for (int64_t i = static_cast<int64_t>(start); i < blocks * row; i += stride)
        if ((i / row) * v.block + i % v.block < v.channels) kept.push_back(image[i]);
    }
    histogram.add(kept);
  }
  count += all.count;
  nans += all.nans;
  infinities += all.infinities;
}

}  // namespace planish
