#include "planish/quant/thresholds.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

namespace planish {
namespace {

constexpr size_t kLevels = 128;  // magnitudes 0..127
/// Of the longer side of a tensor's range: with a longer shorter one, 255 steps over both are no quarter finer than 127
/// over one.
constexpr double kLargestShorterSide = 0.6;

constexpr std::array kNames{std::pair{ThresholdMethod::automatic, std::string_view("auto")},
                            std::pair{ThresholdMethod::entropy, std::string_view("entropy")},
                            std::pair{ThresholdMethod::minmax, std::string_view("minmax")},
                            std::pair{ThresholdMethod::percentile, std::string_view("percentile")},
                            std::pair{ThresholdMethod::mse, std::string_view("mse")}};

/// KL(P || Q) when the first `size` bins are kept and what lies beyond is added to the last of them.
double divergence(std::span<const double> counts, size_t size, double outliers, double total) {
  double sum_q = 0;
  std::array<double, kLevels> level{};
  std::array<double, kLevels> filled{};
  for (size_t i = 0; i < size; ++i) {
    const size_t k = i * kLevels / size;
    level[k] += counts[i];
    filled[k] += counts[i] > 0 ? 1 : 0;
    sum_q += counts[i];
  }
  if (sum_q == 0) return INFINITY;
  double kl = 0;
  for (size_t i = 0; i < size; ++i) {
    const double p = (counts[i] + (i + 1 == size ? outliers : 0)) / total;
    if (p <= 0) continue;
    const size_t k = i * kLevels / size;
    // A bin that only outliers fill has no counterpart in Q.
    const double q = counts[i] > 0 ? level[k] / filled[k] / sum_q : 1e-12;
    kl += p * std::log(p / q);
  }
  return kl;
}

}  // namespace

std::string_view threshold_method_name(ThresholdMethod method) {
  const auto* it = std::ranges::find(kNames, method, &std::pair<ThresholdMethod, std::string_view>::first);
  return it == kNames.end() ? std::string_view("auto") : it->second;
}

std::optional<ThresholdMethod> find_threshold_method(std::string_view name) {
  const auto* it = std::ranges::find(kNames, name, &std::pair<ThresholdMethod, std::string_view>::second);
  if (it == kNames.end()) return std::nullopt;
  return it->first;
}

double kl_threshold(std::span<const uint64_t> counts, uint64_t zeros, double bin_width) {
  std::vector<double> kept(counts.begin(), counts.end());
  if (kept.empty()) return 0;
  kept[0] = std::max(0.0, kept[0] - static_cast<double>(zeros));
  const double total = std::accumulate(kept.begin(), kept.end(), 0.0);
  if (total == 0) return 0;
  size_t last = kept.size();
  while (last > 0 && kept[last - 1] == 0) --last;
  if (last <= kLevels) return static_cast<double>(last) * bin_width;
  double inside = 0;
  for (size_t i = 0; i < kLevels; ++i) inside += kept[i];
  double best = INFINITY;
  size_t best_size = last;
  for (size_t size = kLevels; size <= last; ++size) {
    const double kl = divergence(kept, size, total - inside, total);
    if (kl < best) {
      best = kl;
      best_size = size;
    }
    if (size < last) inside += kept[size];
  }
  return (static_cast<double>(best_size) + 0.5) * bin_width;
}

double quantisation_mse(std::span<const uint64_t> counts, double bin_width, double threshold, int steps) {
  if (threshold <= 0) return INFINITY;
  const double step = threshold / steps;
  double error = 0;
  double total = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0) continue;
    const double x = (static_cast<double>(i) + 0.5) * bin_width;
    const double rounded = std::min(std::nearbyint(x / step), static_cast<double>(steps)) * step;
    const double d = x - rounded;
    error += static_cast<double>(counts[i]) * d * d;
    total += static_cast<double>(counts[i]);
  }
  return total == 0 ? 0 : error / total;
}

/// The part of quantisation_mse() that values beyond the threshold have: it grows with every smaller one.
double clipping_mse(std::span<const uint64_t> counts, double bin_width, double threshold) {
  double error = 0;
  double total = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const double beyond = (static_cast<double>(i) + 0.5) * bin_width - threshold;
    if (beyond > 0) error += static_cast<double>(counts[i]) * beyond * beyond;
    total += static_cast<double>(counts[i]);
  }
  return total == 0 ? 0 : error / total;
}

double mse_threshold(std::span<const uint64_t> counts, double bin_width, int steps) {
  size_t last = counts.size();
  while (last > 0 && counts[last - 1] == 0) --last;
  const double amax = static_cast<double>(last) * bin_width;
  double best = INFINITY;
  double threshold = amax;
  for (double t = amax; t > amax / 64; t *= 0.99) {
    const double error = quantisation_mse(counts, bin_width, t, steps);
    if (error >= best) {
      if (clipping_mse(counts, bin_width, t) > best) break;  // as it will be from here on
      continue;
    }
    best = error;
    threshold = t;
  }
  return threshold;
}

double percentile_threshold(std::span<const uint64_t> counts, double bin_width, double percentile) {
  const double total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), uint64_t{0}));
  const double wanted = total * percentile / 100;
  double seen = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    seen += static_cast<double>(counts[i]);
    if (seen >= wanted && seen > 0) return (static_cast<double>(i) + 1) * bin_width;
  }
  return static_cast<double>(counts.size()) * bin_width;
}

double choose_threshold(const TensorStatistics& statistics, ThresholdMethod method, double percentile, int steps) {
  const AbsHistogram& h = statistics.histogram;
  const double amax = statistics.amax();
  if (amax <= 0) return 0;
  double threshold = amax;
  switch (method) {
    case ThresholdMethod::minmax: break;
    case ThresholdMethod::entropy: threshold = kl_threshold(h.counts(), h.zeros(), h.bin_width()); break;
    case ThresholdMethod::percentile: threshold = percentile_threshold(h.counts(), h.bin_width(), percentile); break;
    case ThresholdMethod::automatic:
    case ThresholdMethod::mse: threshold = mse_threshold(h.counts(), h.bin_width(), steps); break;
  }
  return threshold > 0 ? std::min(threshold, amax) : amax;
}

TensorQuantization unsigned_quantiser(double low, double high) {
  const double scale = std::max((high - low) / kUnsignedSteps, 1e-30);
  const auto zero = static_cast<int64_t>(std::clamp(std::nearbyint(-low / scale), 0.0, double{kUnsignedSteps}));
  return {.scale = static_cast<float>(scale), .zero = zero, .type = DType::u8};
}

std::optional<TensorQuantization> choose_unsigned(const TensorStatistics& statistics, ThresholdMethod method,
                                                  double percentile) {
  const double low = std::min(statistics.min, 0.0F);
  const double high = std::max(statistics.max, 0.0F);
  const double longer = std::max(-low, high);
  const double shorter = std::min(-low, high);
  if (longer <= 0 || shorter > kLargestShorterSide * longer) return std::nullopt;
  const double steps = kUnsignedSteps * longer / (longer + shorter);
  const double threshold = choose_threshold(statistics, method, percentile, static_cast<int>(std::lround(steps)));
  return unsigned_quantiser(std::max(low, -threshold), std::min(high, threshold));
}

}  // namespace planish
