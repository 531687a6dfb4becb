#include "planish/kernels/cpu/grouped_error/grouped_error.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace planish::kernels {
namespace {

TEST(GroupedError, EveryVariantAddsWhatRoundingDoesToEveryResult) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(1, 3);
  constexpr int64_t kK = 9;
  constexpr int64_t kM = 2;
  constexpr int64_t kGroups = 71;
  constexpr int64_t kStride = 80;
  const StepRange steps{0.03125F, -40, 215};
  std::vector<float> x(kK * kGroups);
  std::vector<float> w(kM * kK * kGroups);
  for (float& v : x) v = normal(random);
  for (float& v : w) v = normal(random);
  x[0] = 1000;
  x[1] = -1000;
  for (const GroupedErrorKernel& k : grouped_error_kernels()) {
    if (!cpu_features().has(k.isa)) continue;
    for (const int64_t count : {1, 7, 16, 17, 33, 64, 71}) {
      std::vector<float> sums(kM * kStride, 2);
      std::vector<float> squares(kM * kStride, 3);
      k.fn({x.data(), w.data(), kK, kM, kGroups, count}, steps, sums.data(), squares.data(), kStride);
      for (int64_t m = 0; m < kM; ++m)
        for (int64_t g = 0; g < kStride; ++g) {
          double error = 0;
          for (int64_t c = 0; g < count && c < kK; ++c) {
            const float v = x[static_cast<size_t>(c * kGroups + g)];
            const float whole = std::nearbyint(std::clamp(v / steps.scale, steps.low, steps.high));
            error += (static_cast<double>(whole * steps.scale) - static_cast<double>(v)) *
                     static_cast<double>(w[static_cast<size_t>((m * kK + c) * kGroups + g)]);
          }
          const auto at = static_cast<size_t>(m * kStride + g);
          ASSERT_NEAR(sums[at], 2 + error, 1e-4 * (1 + std::fabs(error))) << k.name << " of " << count << " at " << g;
          ASSERT_NEAR(squares[at], 3 + error * error, 1e-4 * (1 + error * error)) << k.name;
        }
    }
  }
}

}  // namespace
}  // namespace planish::kernels
