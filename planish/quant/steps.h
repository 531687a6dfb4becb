#pragma once

#include <cstdint>

#include "planish/passes/quantization.h"

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
  /// First and last step, counted from zero.
  [[nodiscard]] float low() const { return low_; }
  [[nodiscard]] float high() const { return high_; }
  /// The value of a step, counted from the lowest one.
  [[nodiscard]] float value(uint8_t code) const { return (static_cast<float>(code) + low_) * scale_; }

 private:
  float scale_;
  float low_;
  float high_;
};

}  // namespace planish
