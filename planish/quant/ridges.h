#pragma once

#include <array>

namespace planish {

/// Part of the mean diagonal that is added to the second moments before rounding, so that inputs that never vary do not
/// blow up the factors.
inline constexpr double kDamping = 0.01;
/// Ridges to choose from, as shares of the mean diagonal, the strongest first. Small layers can afford to try more of
/// them.
inline constexpr std::array kRidges{30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03};
inline constexpr std::array kFewRidges{30.0, 3.0, 0.3};

}  // namespace planish
