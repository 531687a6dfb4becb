#include "planish/kernels/cpu/dynamic_quantize/dynamic_quantize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace planish::kernels {
namespace {

constexpr unsigned kSeed = 5;

TEST(DynamicQuantize, EveryVariantAgreesWithTheDefinition) {
  std::mt19937 rng(kSeed);
  std::normal_distribution<float> normal(0.3F, 2.0F);
  for (const DynamicQuantizeKernels& k : dynamic_quantize_kernels()) {
    if (!cpu_features().has(k.isa)) continue;
    SCOPED_TRACE(k.id);
    for (const int64_t n : {0, 1, 7, 31, 32, 33, 64, 1000}) {
      std::vector<float> x(static_cast<size_t>(n));
      for (float& v : x) v = normal(rng);
      if (n > 20) x[17] = std::numeric_limits<float>::quiet_NaN();
      float low = 1;
      float high = 1;
      k.range(n, x.data(), &low, &high);
      float least = 0;
      float most = 0;
      for (const float v : x) {
        least = std::min(least, v);
        most = std::max(most, v);
      }
      EXPECT_EQ(low, least);
      EXPECT_EQ(high, most);
      std::vector<uint8_t> y(x.size() + 1, 77);
      const float scale = 0.0137F;
      const int32_t zero = 101;
      k.quantize(n, x.data(), scale, zero, y.data());
      for (size_t i = 0; i < x.size(); ++i) {
        const float q = std::isnan(x[i]) ? 0.0F : std::nearbyint(x[i] / scale);
        EXPECT_EQ(static_cast<float>(y[i]), std::clamp(q + static_cast<float>(zero), 0.0F, 255.0F)) << i;
      }
      EXPECT_EQ(y.back(), 77) << "wrote behind the end";
    }
  }
}

}  // namespace
}  // namespace planish::kernels
