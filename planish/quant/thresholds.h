#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "planish/passes/quantization.h"
#include "planish/quant/histogram.h"

namespace planish {

/// How the clipping threshold of a tensor is chosen from its histogram.
enum class ThresholdMethod : uint8_t { automatic, entropy, minmax, percentile, mse };
std::string_view threshold_method_name(ThresholdMethod method);
std::optional<ThresholdMethod> find_threshold_method(std::string_view name);

/// Threshold that minimises KL(P || Q), where Q has 128 levels, as TensorRT's entropy calibrators choose it.
/// `counts[i]`: how many |x| lie in [i, i + 1) * bin_width. Zeros say nothing about the shape of a distribution (half
/// of what follows a Relu is zero) and are not counted: pass how many there are. Returns units of x; 0 when all
/// values are zero. Source: Migacz, "8-bit Inference with TensorRT", GTC 2017.
double kl_threshold(std::span<const uint64_t> counts, uint64_t zeros, double bin_width);

/// Steps between 0 and the threshold: of symmetric INT8, and of UINT8 for tensors that are never negative.
inline constexpr int kSymmetricSteps = 127;
inline constexpr int kUnsignedSteps = 255;

/// Threshold that minimises the mean squared error of rounding to multiples of threshold / steps and clipping.
double mse_threshold(std::span<const uint64_t> counts, double bin_width, int steps = kSymmetricSteps);

/// Smallest threshold that at least `percentile` per cent of the values do not exceed.
double percentile_threshold(std::span<const uint64_t> counts, double bin_width, double percentile);

/// Mean squared error that a threshold causes; the measure of mse_threshold().
double quantisation_mse(std::span<const uint64_t> counts, double bin_width, double threshold,
                        int steps = kSymmetricSteps);

/// The threshold of a tensor by `method`; never above its largest magnitude. 0 when every value is zero.
/// `automatic` takes mse_threshold(): see docs/quantisation.md for the comparison that led to it.
double choose_threshold(const TensorStatistics& statistics, ThresholdMethod method, double percentile,
                        int steps = kSymmetricSteps);

/// UINT8 with 255 steps from `low` (<= 0) to `high` (>= 0, and not both 0); zero itself is a step.
TensorQuantization unsigned_quantiser(double low, double high);

/// UINT8 for a tensor that reaches much further to one side of zero than to the other, so that its steps are at least a
/// quarter finer than those of symmetric INT8; the threshold of the longer side is chosen by `method`. nullopt for the
/// others, and where every value is zero.
std::optional<TensorQuantization> choose_unsigned(const TensorStatistics& statistics, ThresholdMethod method,
                                                  double percentile);

}  // namespace planish
