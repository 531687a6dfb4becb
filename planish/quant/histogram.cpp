#include "planish/quant/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <optional>

#include "planish/quant/tensor_scan.h"

namespace planish {
namespace {

/// Values of one tensor that a histogram counts at most at a time.
constexpr int64_t kMaxCounted = int64_t{1} << 16;
/// Of one sample of it; more would cost time without moving any threshold. The first samples, those after them, and all
/// behind; of tensors of little interest one in kLaterStep of those behind, which stands for its neighbours.
constexpr int64_t kCountedAtFirst = int64_t{1} << 15;
constexpr int64_t kFirstSamples = 16;
constexpr int64_t kCountedNext = int64_t{1} << 13;
constexpr int64_t kNextSamples = 64;
constexpr int64_t kCountedLater = int64_t{1} << 12;
constexpr int64_t kLaterStep = 4;
// Up to twice as many are counted, because strides are whole and odd.
static_assert(2 * kMaxCounted <= BinCounts::kMost);

constexpr int kBinBits = std::countr_zero(AbsHistogram::kBins);
static_assert(std::has_single_bit(AbsHistogram::kBins));

/// How far the start of sampling moves from one sample to the next: far, and prime.
constexpr int64_t kStartStep = 7919;

/// A stride that shares no factor with row or channel counts visits all of them alike; its start moves on every time.
SampledRuns sampled_runs(const ChannelView& v, int64_t first_sample, int64_t samples) {
  const int64_t of_each = first_sample < kFirstSamples  ? kCountedAtFirst
                          : first_sample < kNextSamples ? kCountedNext
                                                        : kCountedLater;
  const int64_t most = std::min(std::clamp<int64_t>(samples, 1, kMaxCounted) * of_each, kMaxCounted);
  SampledRuns runs{.stride = std::max<int64_t>(1, v.size() / most) | 1};
  while (std::gcd(runs.stride, v.channels) > 1 || std::gcd(runs.stride, v.inner) > 1) runs.stride += 2;
  runs.start = first_sample * kStartStep % runs.stride;
  return runs;
}

/// How many samples this one stands for, itself among them: 0 where another one stands for it.
int64_t samples_meant(int64_t sample, Interest interest) {
  if (interest == Interest::high || sample < kNextSamples) return 1;
  return sample % kLaterStep == 0 ? kLaterStep : 0;
}

}  // namespace

void AbsHistogram::cover(float amax) {
  if (counts_.empty()) counts_.resize(kBins);
  if (amax <= 0) return;
  if (bin_width_ == 0) {
    // One part in a thousand more, so that the largest value falls into the last bin, not behind it.
    bin_width_ = std::exp2(std::ceil(std::log2(std::max(static_cast<double>(amax) * 1.001 / kBins, 1e-40))));
    return;
  }
  while (static_cast<double>(amax) >= bin_width_ * kBins) widen();
}

void AbsHistogram::widen() {
  for (size_t i = 0; i < kBins / 2; ++i) counts_[i] = counts_[2 * i] + counts_[2 * i + 1];
  std::fill(counts_.begin() + kBins / 2, counts_.end(), 0);
  bin_width_ *= 2;
}

void AbsHistogram::add(std::span<const float> values, uint64_t weight) {
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
    ++counted_;
    total_ += weight;
    zeros_ += a == 0 ? weight : 0;
    counts_[std::min(static_cast<size_t>(a * per_width), kBins - 1)] += weight;
  }
}

void AbsHistogram::merge(const AbsHistogram& other) {
  if (other.counts_.empty()) return;
  if (counts_.empty()) counts_.resize(kBins);
  if (bin_width_ == 0) bin_width_ = other.bin_width_;  // what came were zeros
  while (bin_width_ < other.bin_width_) widen();
  // Widths are powers of two, and may lie further apart than any integer reaches: 1e20 beside 1.
  const int doublings = other.bin_width_ > 0 ? std::ilogb(bin_width_) - std::ilogb(other.bin_width_) : 0;
  const int shift = std::min(doublings, kBinBits);
  for (size_t i = 0; i < kBins; ++i) counts_[i >> shift] += other.counts_[i];
  counted_ += other.counted_;
  total_ += other.total_;
  zeros_ += other.zeros_;
}

void AbsHistogram::add(const BinCounts& counted, uint64_t weight) {
  const uint64_t more = counted.add_to(counts_, weight);
  counted_ += more;
  total_ += more * weight;
  zeros_ += counted.zeros() * weight;
}

std::vector<float> TensorStatistics::channel_means() const {
  std::vector<float> means(channel_sums.size());
  for (size_t c = 0; c < means.size(); ++c)
    means[c] =
        channel_counts[c] == 0 ? 0.0F : static_cast<float>(channel_sums[c] / static_cast<double>(channel_counts[c]));
  return means;
}

void TensorStatistics::add_channels(const ChannelStatistics& channels) {
  const size_t n = channels.sum.size();
  if (channel_sums.size() != n && count == 0) {
    channel_sums.assign(n, 0);
    channel_counts.assign(n, 0);
    channel_amax.assign(n, 0);
  }
  if (channel_sums.size() != n) return;  // the number of channels changes between batches
  for (size_t c = 0; c < n; ++c) channel_sums[c] += channels.sum[c];
  for (size_t c = 0; c < n; ++c) channel_counts[c] += channels.count[c];
  for (size_t c = 0; c < n; ++c) {  // both are infinite where no value was finite
    const float amax = channels.max[c] > -channels.min[c] ? channels.max[c] : -channels.min[c];
    channel_amax[c] = amax > channel_amax[c] ? amax : channel_amax[c];
  }
}

void TensorStatistics::merge(const TensorStatistics& other) {
  if (other.count > other.nans + other.infinities) {
    const bool first = count == nans + infinities;
    min = first ? other.min : std::min(min, other.min);
    max = first ? other.max : std::max(max, other.max);
  }
  if (channel_sums.empty() && count == 0) {
    channel_sums.assign(other.channel_sums.size(), 0);
    channel_counts.assign(other.channel_sums.size(), 0);
    channel_amax.assign(other.channel_sums.size(), 0);
  }
  for (size_t c = 0; channel_sums.size() == other.channel_sums.size() && c < channel_sums.size(); ++c) {
    channel_sums[c] += other.channel_sums[c];
    channel_counts[c] += other.channel_counts[c];
    channel_amax[c] = std::max(channel_amax[c], other.channel_amax[c]);
  }
  histogram.merge(other.histogram);
  count += other.count;
  nans += other.nans;
  infinities += other.infinities;
  added_ += other.added_;
}

void TensorStatistics::add(const float* data, std::span<const int64_t> dims, Layout layout, int64_t first_sample,
                           int64_t samples, Interest interest) {
  // Sample by sample where the first dimension holds them, so that it does not matter how many come together.
  if (samples > 1 && dims.size() >= 2 && dims[0] % samples == 0) {
    std::vector<int64_t> of_one(dims.begin(), dims.end());
    of_one[0] /= samples;
    const int64_t stored = view_channels(of_one, layout).stored();
    for (int64_t i = 0; i < samples; ++i) add(data + i * stored, of_one, layout, first_sample + i, 1, interest);
    return;
  }
  const ChannelView v = view_channels(dims, layout);
  if (v.size() <= 0) return;
  added_ += samples;
  // What has no axis of samples may come with several of them or with one, as threads share them out.
  const int64_t meant = samples == 1 && dims.size() >= 2 ? samples_meant(first_sample, interest) : 1;
  if (meant == 0) return;
  SampledRuns runs = sampled_runs(v, first_sample, samples);
  const auto weight = static_cast<uint64_t>(runs.stride * meant);
  const auto in_bins = [&] {
    runs.per_width = histogram.bin_width() == 0 ? 0.0F : static_cast<float>(1 / histogram.bin_width());
    return std::optional(runs);
  };
  // Nearly always the range that was seen before is enough, and one walk does all.
  const bool guess = histogram.bin_width() > 0;
  TensorScan scan = scan_tensor(data, v, true, guess ? in_bins() : std::nullopt);
  add_channels(scan.channels);
  const RunStatistics all = scan.channels.all();
  const bool first = count == nans + infinities;
  bool in_range = guess;
  if (all.min <= all.max) {
    min = first ? all.min : std::min(min, all.min);
    max = first ? all.max : std::max(max, all.max);
    const float amax = std::max(-all.min, all.max);
    in_range = in_range && histogram.covers(amax);
    histogram.cover(amax);
  }
  if (all.nans + all.infinities > 0)
    add_finite_to_histogram(data, v, runs, weight);
  else
    for (const BinCounts& part : in_range ? scan.counts : scan_tensor(data, v, false, in_bins()).counts)
      histogram.add(part, weight);
  count += all.count;
  nans += all.nans;
  infinities += all.infinities;
}

void TensorStatistics::add_finite_to_histogram(const float* data, const ChannelView& v, const SampledRuns& runs,
                                               uint64_t weight) {
  const int64_t plane = v.inner * v.block;
  std::vector<float> kept;
  for (int64_t i = runs.start; i < v.stored(); i += runs.stride)
    if (i / plane % v.blocks() * v.block + i % v.block < v.channels) kept.push_back(data[i]);
  histogram.add(kept, weight);
}

}  // namespace planish
