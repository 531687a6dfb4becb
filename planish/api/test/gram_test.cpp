#include "planish/api/gram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace planish::api {
namespace {

TEST(PackedGram, ComputesWhatLoopsDo) {
  const GramFunction gram = packed_gram(2);
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  struct Size {
    int64_t n, a, b;
  };
  for (const Size s : {Size{3, 2, 5}, Size{100, 70, 33}, Size{700, 49, 130}, Size{257, 97, 97}, Size{40, 300, 1}}) {
    std::vector<float> x(static_cast<size_t>(s.n * s.a));
    std::vector<float> y(static_cast<size_t>(s.n * s.b));
    for (float& v : x) v = normal(random);
    for (float& v : y) v = normal(random);
    for (const int variant : {0, 1, 2, 3}) {
      const bool same = variant % 2 == 1;
      const bool in_rows = variant >= 2;  // the sums run along the memory
      const int64_t b = same ? s.a : s.b;
      const std::vector<float>& other = same ? x : y;
      std::vector<float> got(static_cast<size_t>(s.a * b), NAN);
      std::vector<float> want(got.size());
      const auto operand = [&](const std::vector<float>& v, int64_t width) {
        return in_rows ? GramOperand{v.data(), 1, s.n} : GramOperand{v.data(), width, 1};
      };
      gram(s.n, s.a, b, operand(x, s.a), operand(other, b), got.data());
      gram_by_loops(s.n, s.a, b, operand(x, s.a), operand(other, b), want.data());
      for (size_t i = 0; i < want.size(); ++i)
        ASSERT_NEAR(got[i], want[i], 1e-3) << s.n << " x " << s.a << " x " << b << ", element " << i;
    }
  }
}

}  // namespace
}  // namespace planish::api
