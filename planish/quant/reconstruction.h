#pragma once

#include <optional>
#include <span>

#include "planish/passes/quantization.h"
#include "planish/quant/gram.h"
#include "planish/quant/input_rows.h"

namespace planish {

/// The numbers that a quantiser knows.
class Steps {
 public:
  explicit Steps(const TensorQuantization& q)
      : scale_(q.scale),
        low_((q.type == DType::u8 ? 0.0F : -128.0F) - static_cast<float>(q.zero)),
        high_(low_ + 255.0F) {}
  /// real = (q - zero) * scale of the nearest step, ties to even.
  [[nodiscard]] float nearest(float value) const {
    // Adding 1.5 * 2^23 leaves no bits behind the point; vector units of every age can do it.
    constexpr float kNoFraction = 12582912.0F;
    const float steps = value / scale_;
    const float inside = steps < low_ ? low_ : (steps > high_ ? high_ : steps);
    return (inside + kNoFraction - kNoFraction) * scale_;
  }
  /// Number of the nearest step, counted from the lowest one.
  [[nodiscard]] uint8_t code(float value) const {
    constexpr float kNoFraction = 12582912.0F;
    const float steps = value / scale_;
    const float inside = steps < low_ ? low_ : (steps > high_ ? high_ : steps);
    return static_cast<uint8_t>(static_cast<int32_t>(inside + kNoFraction - kNoFraction - low_));
  }
  /// The value of a step.
  [[nodiscard]] float value(uint8_t code) const { return (static_cast<float>(code) + low_) * scale_; }

 private:
  float scale_;
  float low_;
  float high_;
};

/// Steps::code() of every value, and back.
void codes_of(std::span<const float> values, const TensorQuantization& quantiser, uint8_t* codes);
void values_of(std::span<const uint8_t> codes, const TensorQuantization& quantiser, float* values);

/// Steps::nearest() of every value.
void round_to_steps(std::span<float> values, const TensorQuantization& quantiser);

/// Weights, INT8, that bring the layer's result on quantised input nearest to its result in float:
/// 1. W' minimises |W x - W' x'|^2 over the rows, where x is the input in the float network and x' the quantised input
///    behind quantised layers, with a ridge towards W that is chosen by predicting one half of the samples from the
///    other (none of it where that does not predict);
/// 2. each weight is rounded after the errors of those before it were carried over to it through the second moments of
///    x' (GPTQ's rounding, computed as LDLQ);
/// 3. the bias takes the mean of what is left.
/// `in_float` and `quantised` hold the same positions. nullopt without rows or where the two do not match.
/// Sources: Frantar et al., "GPTQ", ICLR 2023; Chee et al., "QuIP", NeurIPS 2023 (LDLQ).
std::optional<QuantisedWeights> reconstruct_weights(const Graph& graph, const QuantisedProduct& product,
                                                    const InputRows& in_float, const InputRows& quantised,
                                                    const WeightLimit& limit, const GramFunction& gram);

}  // namespace planish
